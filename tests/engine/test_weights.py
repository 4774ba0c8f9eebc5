"""Finding weights, loading them once, and sharing them."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from napari_medssl.engine import weights as weights_module
from napari_medssl.engine.device import policy_for
from napari_medssl.engine.engine import Engine
from napari_medssl.engine.weights import list_weights, load_models, models_on, resolve_weights
from napari_medssl.errors import WeightsError
from napari_medssl.models.bundle import Bundle, load_bundle, save_bundle
from napari_medssl.oneshot.support import Support
from napari_medssl.samples.phantom import phantom
from tests.engine.conftest import write_weights

CPU = policy_for(torch.device("cpu"))


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for the package's own weights, empty at first."""
    folder = tmp_path / "shipped"
    folder.mkdir()
    monkeypatch.setattr(weights_module, "_folder", lambda: folder)
    return folder


def test_default_is_the_shipped_file(shipped: Path) -> None:
    write_weights(shipped / "default.safetensors")
    source = resolve_weights("default")
    assert (source.name, source.path, source.notes) == ("default", shipped / "default.safetensors", ())


def test_without_default_weights_the_training_free_encoder_stands_in(
    shipped: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = resolve_weights()
    assert (source.name, source.path) == ("none", None)
    assert "no default weights are installed" in source.notes[0]
    assert "no default weights are installed" in caplog.text
    assert load_models(source, CPU).encoder_name == "feature-bank"


def test_other_shipped_sets_go_by_name_and_unknown_ones_list_them(shipped: Path) -> None:
    write_weights(shipped / "self-supervised.safetensors")
    assert resolve_weights("self-supervised").path == shipped / "self-supervised.safetensors"
    with pytest.raises(WeightsError, match="'abdomen'; choose one of: self-supervised, none"):
        resolve_weights("abdomen")


@pytest.mark.parametrize("given", ["nowhere/x.safetensors", "x.safetensors", Path("default")])
def test_missing_file_is_named(shipped: Path, given: str | Path) -> None:
    with pytest.raises(WeightsError, match=f"no weights file at {given}"):
        resolve_weights(given)


def test_listing_shows_the_card_without_loading_tensors(shipped: Path) -> None:
    write_weights(shipped / "a-set.safetensors")
    write_weights(shipped / "default.safetensors", seed=1)
    listed = list_weights()
    assert [f.name for f in listed] == ["default", "a-set", "none"]
    assert listed[0].card["licence"] == "CC0-1.0"
    assert listed[0].modules == {"encoder": "slice-resnet"}
    assert listed[0].nbytes == (shipped / "default.safetensors").stat().st_size
    assert len({f.sha256 for f in listed}) == 3


def test_damaged_shipped_file_is_named(shipped: Path) -> None:
    (shipped / "default.safetensors").write_bytes(b"nonsense")
    with pytest.raises(WeightsError, match=r"default\.safetensors are damaged"):
        list_weights()


def test_models_are_those_of_the_file_and_ready_to_infer(weights: Path) -> None:
    models = load_models(resolve_weights(weights), CPU)
    bundle = load_bundle(weights)
    assert models.sha256 == bundle.sha256
    assert (models.encoder_name, models.propagator) == ("slice-resnet", None)
    assert all(torch.equal(v, bundle.state("encoder")[k]) for k, v in models.encoder.state_dict().items())
    assert not models.encoder.training
    assert not any(p.requires_grad for p in models.encoder.parameters())
    assert models.nbytes == sum(t.numel() * 4 for t in bundle.tensors.values())


def test_same_file_is_loaded_once_while_in_use(tmp_path: Path) -> None:
    weights = write_weights(tmp_path / "mine.safetensors", seed=77)  # no other test has these
    first = load_models(resolve_weights(weights), CPU)
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(weights.read_bytes())
    assert load_models(resolve_weights(copy), CPU) is first
    assert load_models(resolve_weights(write_weights(tmp_path / "other.safetensors", seed=5)), CPU) is not first
    sha = first.sha256
    assert any(digest == sha for digest, _ in weights_module._shared)
    del first
    gc.collect()
    assert not any(digest == sha for digest, _ in weights_module._shared)


def test_another_device_gets_a_copy_and_leaves_the_first_alone(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = load_models(resolve_weights(weights), CPU)
    elsewhere = policy_for(torch.device("mps"))
    monkeypatch.setattr(type(elsewhere), "place", lambda self, module: module.to("meta"))
    copied = models_on(models, elsewhere)
    assert next(copied.encoder.parameters()).device.type == "meta"
    assert next(models.encoder.parameters()).device.type == "cpu"
    assert models_on(models, elsewhere) is copied
    assert models_on(models, CPU) is models


def test_training_free_hash_is_stable_and_shared() -> None:
    first, second = (load_models(resolve_weights("none"), CPU) for _ in range(2))
    assert first is second
    assert len(first.sha256) == 64
    assert first.propagator is None


def rewritten(weights: Path, **changes: object) -> Path:
    bundle = load_bundle(weights)
    save_bundle(weights, Bundle(**{"modules": bundle.modules, "tensors": bundle.tensors, **changes}))  # type: ignore[arg-type]
    return weights


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        ({"propagator": {"name": "x", "config": {}}}, "hold no encoder, only: propagator"),
        ({"encoder": {"name": "brand-new", "config": {}}}, "no encoder is called 'brand-new'.*newer napari-medssl"),
        ({"encoder": {"name": "slice-resnet", "config": {"wings": 2}}}, "cannot be built.*another version"),
        ({"encoder": {"config": {}}}, "cannot be built"),
        ({"encoder": {"name": "slice-resnet", "config": {"width": 16}}}, "do not fit the encoder 'slice-resnet'"),
    ],
)
def test_weights_for_another_architecture_are_explained(weights: Path, modules: object, message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        load_models(resolve_weights(rewritten(weights, modules=modules)), CPU)


def test_bundle_with_a_propagator_and_a_reviser_brings_them(tmp_path: Path) -> None:
    from napari_medssl.models.propagator import CropPropagator

    path = write_weights(tmp_path / "both.safetensors")
    bundle = load_bundle(path)
    network = CropPropagator(features=(8, 8, 8, 8, 8, 8), crop_size=32)
    tensors = {**bundle.tensors, **{f"propagator.{k}": v for k, v in network.state_dict().items()}}
    reviser = CropPropagator(features=(8, 8, 8, 8, 8, 8), crop_size=48, guided=True)
    tensors |= {f"reviser.{k}": v for k, v in reviser.state_dict().items()}
    modules = {**bundle.modules, "propagator": {"name": "crop-unet", "config": network.config}}
    modules["reviser"] = {"name": "crop-unet", "config": reviser.config}
    save_bundle(path, Bundle(modules, tensors))
    models = load_models(resolve_weights(path), CPU)
    assert isinstance(models.reviser, CropPropagator)
    assert models.reviser.guided
    assert models.reviser.crop_size == 48
    assert models.nbytes > sum(p.numel() * 4 for m in (models.encoder, network, reviser) for p in m.parameters()) - 1
    assert isinstance(models.propagator, CropPropagator)
    assert models.propagator.crop_size == 32
    assert models.propagator is not load_models(resolve_weights(path), CPU).encoder


def test_bundle_with_a_recogniser_brings_it(tmp_path: Path) -> None:
    from napari_medssl.models.recogniser import StructureUNet

    path = write_weights(tmp_path / "knowing.safetensors")
    bundle = load_bundle(path)
    network = StructureUNet(structures={"set": ["liver"]}, features=(8, 8, 8, 8, 8, 8), input_size=32)
    tensors = {**bundle.tensors, **{f"recogniser.{k}": v for k, v in network.state_dict().items()}}
    modules = {**bundle.modules, "recogniser": {"name": "structure-unet", "config": network.config}}
    save_bundle(path, Bundle(modules, tensors))
    found: Any = load_models(resolve_weights(path), CPU).recogniser
    assert found.structures == {"set": ("liver",)}
    assert not found.training
    slices = torch.rand(1, 5, 32, 32)
    torch.testing.assert_close(found(slices), network.eval()(slices))


@pytest.mark.parametrize(
    ("name", "roles", "labels"),
    [
        ("default", {"encoder", "propagator", "reviser", "recogniser"}, "encoder: organ labels of btcv_ct"),
        ("self-supervised", {"encoder", "propagator"}, "none: superpixels"),
    ],
)
def test_what_ships_loads_and_its_card_says_what_it_learned_from(name: str, roles: set[str], labels: str) -> None:
    (facts,) = (f for f in list_weights() if f.name == name)
    assert set(facts.modules) == roles
    assert facts.card["labels_used"].startswith(labels)
    assert {"licence", "data_licences", "held_out"} <= set(facts.card)
    trained = roles & {"encoder", "propagator", "recogniser"}
    seen = {scan for role in trained for scans in facts.card[role]["data"].values() for scan in scans}
    assert len(seen) > 100
    assert not any(
        scan.startswith(
            ("chaos", *(f"btcv_ct_{n}" for n in ("00", "01", "03", "27", "28")), "SC-N-03", "hippocampus_219")
        )
        for scan in seen
    )
    models = load_models(resolve_weights(name), CPU)
    assert (models.reviser is not None) == ("reviser" in roles)
    assert (models.recogniser is not None) == ("recogniser" in roles)
    assert all(torch.isfinite(p).all() for module in models.modules for p in module.parameters())


def test_the_default_weights_name_what_they_know() -> None:
    known: Any = load_models(resolve_weights("default"), CPU).recogniser
    assert {group: len(names) for group, names in known.structures.items()} == {
        "btcv_ct": 13,
        "sunnybrook": 1,
        "hippocampus": 2,
    }
    assert known.structures["btcv_ct"][5] == "liver"
    (facts,) = (f for f in list_weights() if f.name == "default")
    seen = [scan for scans in facts.card["recogniser"]["data"].values() for scan in scans]
    held_out = (
        *(f"btcv_ct_{n}" for n in ("00", "01", "03", "27", "28")),
        "SC-N-03",
        "SC-N-06",
        "SC-N-07",
        "SC-N-1",
        "hippocampus_215",
        "hippocampus_22",
        "hippocampus_23",
        "hippocampus_24",
    )
    assert len(seen) == 15 + 50 + 100 + 2  # the CT and the MR of totalseg
    assert not any(scan.startswith(held_out) for scan in seen)


def test_the_set_without_labels_segments() -> None:
    scan, truth = phantom("MR")
    liver = np.asarray(truth.data) == 1
    z = int(liver.sum((1, 2)).argmax())
    support = np.zeros(liver.shape, np.int32)
    support[z][liver[z]] = 1
    with Engine(weights="self-supervised") as engine:
        found = np.asarray(engine.segment(scan, [Support(scan, support)]).labels.data) == 1
    assert 2 * (found & liver).sum() / (found.sum() + liver.sum()) > 0.85
