"""Feature grids from the engine: which encoder, what is kept, what happens when memory runs out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_medssl.dense.extract import ExtractSettings
from napari_medssl.dense.files import load_grid
from napari_medssl.engine import Engine
from napari_medssl.engine import volume_weights as chosen
from napari_medssl.engine.device import DevicePolicy
from napari_medssl.engine.grids import grid_steps
from napari_medssl.engine.volume_weights import LoadedEncoder, load_encoder
from napari_medssl.errors import OutOfMemoryError, VolumeError, WeightsError
from napari_medssl.models.bundle import module_bundle, save_bundle
from napari_medssl.models.encoder3d import build_encoder3d
from napari_medssl.models.medicalnet import MedicalNet
from napari_medssl.progress import finish
from napari_medssl.volume import Volume
from tests.dense.conftest import Means

CPU = DevicePolicy(torch.device("cpu"))
SMALL = ExtractSettings(stages=(3,), spacing_mm=2.0)


@pytest.fixture
def engine():
    with Engine(device="cpu", weights="none") as engine:
        yield engine


@pytest.fixture
def scan():
    rng = np.random.default_rng(0)
    return Volume(rng.uniform(0, 100, (6, 20, 24)).astype(np.float32), np.diag([4.0, 2, 2, 1]), "MR")


def run_file(tmp_path, kind="unet3d", role="encoder3d", card=None, **config):
    torch.manual_seed(5)
    net = build_encoder3d(kind, **config)
    path = tmp_path / "encoder.safetensors"
    save_bundle(path, module_bundle(role, kind, net, card or {}))
    return path, net


def test_a_grid_is_made_once(engine, scan, tmp_path):
    first = engine.grid(scan, weights="untrained3d", settings=SMALL)
    assert engine.grid(scan, weights="untrained3d", settings=SMALL) is first
    assert engine.grid(scan, weights="untrained3d", settings=ExtractSettings((3,), 3.0)) is not first
    kept = engine.grid(scan, weights="untrained3d", settings=SMALL, out=tmp_path / "a.zarr")
    assert np.array_equal(kept.data[:], first.data)
    assert load_grid(tmp_path / "a.zarr").space == first.space
    assert first.encoder["weights"] == "untrained3d"


def test_the_stand_in_for_missing_weights_says_so(engine, scan, monkeypatch, tmp_path):
    monkeypatch.setattr("napari_medssl.engine.weights._folder", lambda: tmp_path)
    grid = engine.grid(scan, settings=SMALL)
    assert "untrained 3D U-Net is used instead" in grid.encoder["notes"][0]


def test_a_run_of_ones_own_is_taken_with_its_spacing(engine, scan, tmp_path):
    path, net = run_file(tmp_path, card={"settings": {"spacing_mm": 1.6}}, width=0.125)
    grid = engine.grid(scan, weights=path)
    assert grid.encoder["spacing_mm"] == 1.6
    assert grid.encoder["weights"] == "encoder.safetensors"
    assert grid.channels == net.stage_channels[1] + net.stage_channels[2]
    told, _ = run_file(tmp_path, role="encoder", card={"extraction": {"stages": [4], "spacing_mm": 3.0}}, width=0.125)
    assert engine.grid(scan, weights=str(told)).encoder["stages"] == [4]


def test_a_volume_transformer_keeps_its_crop(engine, scan, tmp_path):
    path, _ = run_file(tmp_path, "vit3d", channels=48, depth=2, size=(16, 16, 16))
    grid = engine.grid(scan, weights=path, settings=ExtractSettings(spacing_mm=1.0))
    assert grid.encoder["stages"] == [4]
    assert grid.encoder["windows"]["size"] == [16, 16, 16]


def test_medicalnet_comes_from_the_offline_folder(engine, scan, tmp_path, monkeypatch):
    file = {f"module.{n}": t for n, t in MedicalNet(depth=10).net.state_dict().items()}
    torch.save({"state_dict": file}, tmp_path / "resnet_10_23dataset.pth")
    monkeypatch.setenv("NAPARI_MEDSSL_DATA", str(tmp_path))
    grid = engine.grid(scan, weights="medicalnet-resnet10", settings=ExtractSettings(spacing_mm=2.0))
    assert grid.encoder["name"] == "medicalnet"
    assert grid.encoder["stages"] == [1]
    assert "tensors loaded" in grid.encoder["notes"][0]


def test_medicalnet_that_cannot_be_fetched_is_told(monkeypatch, tmp_path):
    import pooch
    from requests.exceptions import ConnectionError as NoConnection

    def refused(*_, **__):
        raise NoConnection("no route")

    monkeypatch.delenv("NAPARI_MEDSSL_DATA", raising=False)
    monkeypatch.setattr(pooch, "retrieve", refused)
    with pytest.raises(WeightsError, match="NAPARI_MEDSSL_DATA"):
        load_encoder("medicalnet-resnet34", CPU)


def test_unusable_scans_and_weights_are_refused(engine, scan, tmp_path):
    with pytest.raises(VolumeError, match="every voxel"):
        engine.grid(scan.like(np.zeros(scan.shape)))
    with pytest.raises(WeightsError, match="no weights are called"):
        engine.grid(scan, weights="best3d")
    (tmp_path / "bad.safetensors").write_bytes(b"nothing")
    with pytest.raises(WeightsError, match="not a readable"):
        engine.grid(scan, weights=tmp_path / "bad.safetensors")


def test_voxels_that_are_no_numbers_are_told(engine, scan):
    data = scan.data.copy()
    data[2, 3, 4] = np.nan
    holed = scan.like(data)
    grid = engine.grid(holed, weights="untrained3d", settings=SMALL)
    assert np.isfinite(grid.data).all()
    assert any("NaN" in note for note in grid.encoder["notes"])
    assert grid.source["sha256"] == holed.content_hash


def test_short_memory_halves_the_batch_and_is_told(scan):
    class Hungry(Means):
        def stages(self, volume):
            if len(volume) > 1:
                raise torch.OutOfMemoryError("out of memory")
            return super().stages(volume)

    settings = ExtractSettings((1,), 2.0, patch=8, batch=4, precision="float32")
    loaded = [LoadedEncoder("means", "w", "0", net.eval()) for net in (Hungry(), Means())]
    grids = [finish(grid_steps(scan, one, settings, policy=CPU, original=scan)) for one in loaded]
    # Kernels may sum in another order for another batch.
    np.testing.assert_allclose(grids[0].data, grids[1].data, atol=1e-5)
    assert [("using 2" in n, "using 1" in n) for n in grids[0].encoder["notes"]] == [(True, False), (False, True)]
    assert grids[1].encoder["notes"] == []


def test_a_grid_that_cannot_fit_is_refused_before_any_work(engine, scan, monkeypatch):
    monkeypatch.setattr("napari_medssl.engine.grids.available_bytes", lambda: 1 << 20)
    with pytest.raises(OutOfMemoryError, match=r"MiB is free.*cell_mm"):
        engine.grid(scan, weights="untrained3d", settings=SMALL)


def test_giving_up_frees_the_engine(engine, scan, tmp_path):
    settings = ExtractSettings((1,), 1.0, patch=8)
    steps = engine.grid_steps(scan, weights="untrained3d", settings=settings, out=tmp_path / "a.zarr")
    for _ in range(3):
        next(steps)
    steps.close()
    assert not list(tmp_path.iterdir())
    assert engine.grid(scan, weights="untrained3d", settings=SMALL).channels
    assert chosen.DEFAULT3D == "default3d"
