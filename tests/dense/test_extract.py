"""Features of volumes in windows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data.utils import compute_importance_map
from monai.inferers import sliding_window_inference
from torch import nn

from napari_medssl.dense.extract import ExtractSettings, extract, extract_steps
from napari_medssl.dense.files import load_grid
from napari_medssl.dense.prepared_scan import PreparedScan
from napari_medssl.errors import FormatError, SettingsError, WeightsError
from napari_medssl.intensity import IntensitySettings, to_unit, window_limits
from napari_medssl.models.encoder3d import build_encoder3d
from napari_medssl.progress import finish
from napari_medssl.volume import Volume
from tests.dense.conftest import centre_of, scan_with_marker, turned_affine

FULL = IntensitySettings("full")
ORIENTATIONS = [
    ((1.0, 1.0, 1.0), (2, 1, 0), (False, True, True), 0.0),
    ((5.0, 1.2, 1.2), (2, 1, 0), (True, False, True), 0.0),
    ((1.5, 0.8, 2.5), (0, 2, 1), (False, True, False), 0.0),
    ((3.0, 1.5, 1.1), (1, 0, 2), (True, True, False), 23.0),
]


def noise(shape=(13, 30, 22), seed=0, spacing=1.0):
    rng = np.random.default_rng(seed)
    return Volume(rng.uniform(0, 100, shape).astype(np.float32), np.diag([spacing] * 3 + [1.0]), "MR")


def exact(**options):
    return ExtractSettings(spacing_mm=1.0, precision="float32", normalise=False, **options)


def padded(volume, stride):
    unit = to_unit(volume.data, window_limits(volume))
    return np.pad(unit, [(0, -n % stride) for n in unit.shape])


@pytest.mark.parametrize("patch", [4, 8, 12, 512])
@pytest.mark.parametrize("blend", ["gaussian", "constant"])
def test_windows_change_nothing_for_a_1x1x1_network(means, patch, blend):
    scan = noise()
    grid = extract(scan, means, exact(stages=(1, 3), patch=patch, overlap=0.4, blend=blend))
    with torch.no_grad():
        whole = means.stages(torch.from_numpy(padded(scan, 4))[None, None])
    assert grid.data.shape == (4, 13, 30, 22)
    np.testing.assert_allclose(grid.data[:2], whole[0][0, :, :13, :30, :22], atol=1e-6)
    smooth = nn.functional.interpolate(whole[2], scale_factor=4, mode="trilinear", align_corners=False)
    np.testing.assert_allclose(grid.data[2:], smooth[0, :, :13, :30, :22], atol=1e-5)


def test_blending_is_that_of_monai():
    torch.manual_seed(0)
    net = build_encoder3d("unet3d", width=0.1)
    scan = noise((40, 56, 48))
    grid = extract(scan, net, exact(stages=(1,), patch=24, overlap=0.3))
    # MONAI raises weights below 0.001 in its whole map, here they are raised along each axis; else all is the same.
    along = compute_importance_map((24,), mode="gaussian")
    weights = along[:, None, None] * along[:, None] * along
    with torch.no_grad():
        theirs = sliding_window_inference(
            torch.from_numpy(padded(scan, 8))[None, None], (24, 24, 24), 1, lambda x: net.stages(x)[0],
            overlap=(0.33,) * 3, mode="gaussian", roi_weight_map=weights,
        )  # fmt: skip
    assert grid.encoder["windows"]["count"] == 2 * 3 * 3
    np.testing.assert_allclose(grid.data, theirs[0], atol=1e-5)


def test_no_seams():
    torch.manual_seed(0)
    net = build_encoder3d("unet3d", width=0.1)
    scan = noise((32, 64, 64))
    whole = extract(scan, net, exact(stages=(2,), patch=64))
    windows = extract(scan, net, exact(stages=(2,), patch=32, overlap=0.5))
    inner = (slice(None), *[slice(4, -4)] * 3)
    assert windows.encoder["windows"]["count"] == 9
    error = np.abs(windows.data - whole.data)[inner]
    assert error.max() < 0.2 * whole.data.std()
    assert error.mean() < 0.005 * whole.data.std()


@pytest.mark.parametrize(("spacing", "axes", "flips", "angle"), ORIENTATIONS)
@pytest.mark.parametrize("cell_mm", [0.0, 7.0])
def test_a_marker_is_found_at_its_place(means, spacing, axes, flips, angle, cell_mm):
    shape = tuple(int(60 / s) for s in spacing)
    scan, where = scan_with_marker(shape, turned_affine(spacing, axes, flips, angle), [0.4 * n for n in shape])
    for stages in ((1,), (2,), (3,), (1, 3)):
        settings = ExtractSettings(
            stages, 1.5, cell_mm, normalise=False, precision="float32", patch=24, intensity=FULL
        )  # fmt: skip
        grid = extract(scan, means, settings)
        assert np.linalg.norm(centre_of(grid, grid.data[0]) - where) < 0.25
        if cell_mm:
            assert np.all(np.abs(np.array(grid.spacing_mm) - 7) < 2.5)


def test_a_marker_changes_the_cell_of_a_network_where_it_lies():
    torch.manual_seed(1)
    net = build_encoder3d("unet3d", width=0.1)
    affine = turned_affine((4.0, 1.0, 1.0), (2, 1, 0), (True, True, False), 10.0)
    scan, where = scan_with_marker((12, 48, 40), affine, (7, 12, 27))
    empty = Volume(np.zeros_like(scan.data), affine, "MR")
    for stages in ((1,), (2,), (3,)):
        settings = ExtractSettings(stages, 1.0, precision="float32", normalise=False, intensity=FULL)
        grid, other = (extract(v, net, settings) for v in (scan, empty))
        change = np.square(grid.data - other.data).sum(0)
        assert np.linalg.norm(centre_of(grid, change) - where) < 2.5 * max(
            grid.spacing_mm
        )  # random filters lean to a side by a voxel or two


def test_scans_are_shown_as_in_training():
    from napari_medssl.train.grid import Grid, on_grid

    scan = Volume(noise((9, 40, 30)).data, np.diag([4.0, 0.9, 1.3, 1]), "MR")
    trained = on_grid(scan, Grid(spacing_mm=2.0), name="scan").image
    prepared = PreparedScan(scan, 2.0, IntensitySettings())
    assert prepared.shape == trained.shape
    slabs = torch.cat([prepared.slab(z, (4, *trained.shape[1:])) for z in range(0, len(trained), 4)])[: len(trained)]
    assert np.abs(slabs.numpy() - trained / 255).max() < 1.5 / 255  # theirs is rounded to 8 bits, twice


@pytest.mark.parametrize("shape", [(1, 30, 30), (3, 5, 2), (1, 1, 2)])
def test_scans_smaller_than_a_window(means, shape):
    grid = extract(noise(shape), means, exact(stages=(1, 2), patch=64))
    assert grid.shape == shape
    assert np.isfinite(grid.data).all()


def test_stages_have_length_one(means):
    grid = extract(noise(), means, ExtractSettings((1, 3), 1.0, precision="float32"))
    lengths = np.linalg.norm(grid.data.reshape(2, 2, *grid.shape), axis=1)
    np.testing.assert_allclose(lengths[0], 1, atol=1e-5)
    assert lengths[1].max() < 1 + 1e-5  # interpolated between vectors of length 1


def test_the_card_chooses_what_the_settings_leave_open(means):
    facts = {"name": "means", "weights_sha256": "12", "spacing_mm": 2.0, "stages": [2], "patch": 8}
    grid = extract(noise((24, 24, 24)), means, encoder_facts=facts)
    assert grid.spacing_mm == pytest.approx((4, 4, 4))
    assert grid.data.dtype == np.float16
    assert grid.encoder["windows"]["size"] == [8, 8, 8]
    assert grid.space == ("means", "12", (2,), 2)
    assert grid.source["sha256"] == noise((24, 24, 24)).content_hash
    other = extract(noise((24, 24, 24)), means, ExtractSettings((3,), 1.0), encoder_facts=facts)
    assert other.spacing_mm == pytest.approx((4, 4, 4))
    assert other.encoder["stages"] == [3]


def test_rows_go_to_the_disk_as_into_memory(means, tmp_path):
    settings = ExtractSettings((1, 2), 1.0, patch=8, cell_mm=3.0)
    kept = extract(noise(), means, settings)
    for name in ("a.zarr", "a.npz"):
        grid = extract(noise(), means, settings, out=tmp_path / name)
        assert np.array_equal(np.asarray(grid.data[:]), kept.data)
        again = load_grid(tmp_path / name)
        assert again.encoder == kept.encoder
        assert again.source == kept.source
        assert np.array_equal(again.affine, kept.affine)


def test_nothing_is_left_of_what_was_given_up(means, tmp_path):
    steps = extract_steps(noise(), means, exact(patch=8), out=tmp_path / "a.zarr")
    for _ in range(5):
        next(steps)
    assert list(tmp_path.iterdir())
    steps.close()
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_told(means, tmp_path, monkeypatch):
    from napari_medssl.dense.sink import ZarrSink

    def full(self):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ZarrSink, "_write", full)
    with pytest.raises(FormatError, match="the disk is full"):
        extract(noise(), means, exact(), out=tmp_path / "a.zarr")
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_done_is_refused(means, tmp_path):
    with pytest.raises(SettingsError, match="1 to 3"):
        extract(noise(), means, ExtractSettings(stages=(4,)))
    with pytest.raises(SettingsError, match="once"):
        extract(noise(), means, ExtractSettings(stages=(1, 1)))
    with pytest.raises(SettingsError, match="overlap"):
        extract(noise(), means, ExtractSettings(overlap=1.0))
    with pytest.raises(FormatError, match=r"\.zarr"):
        extract(noise(), means, out=tmp_path / "a.nii")
    means.in_channels = 2
    with pytest.raises(SettingsError, match="2 channels"):
        extract(noise(), means)


def test_values_that_are_no_numbers_or_too_large_are_refused(means):
    with torch.no_grad():
        means.point.weight *= 1e6
    with pytest.raises(SettingsError, match="range of float16"):
        extract(noise(), means, ExtractSettings(normalise=False))
    with torch.no_grad():
        means.point.weight *= float("nan")
    with pytest.raises(WeightsError, match="not numbers"):
        extract(noise(), means)


def test_cells_of_an_encoder_that_does_not_tile_its_input():
    class Strided(nn.Module):
        in_channels, channels, stride, config, stage_centres = 1, 1, 4, {}, (0.0,)

        def stages(self, volume):
            return [volume[..., ::4, ::4, ::4]]  # a cell sees its first voxel alone

    scan, where = scan_with_marker((40, 40, 40), np.diag([1.0, 1, 1, 1]), (14, 22, 18), sigma_mm=5)
    grid = extract(scan, Strided(), exact(intensity=FULL))
    assert np.linalg.norm(centre_of(grid, grid.data[0]) - where) < 0.1


def test_progress_counts_windows(means):
    seen = []
    finish(extract_steps(noise(), means, exact(patch=8)), lambda p: seen.append((p.done, p.total)))
    assert seen == [(n, len(seen) - 1) for n in range(len(seen))]
    assert len(seen) > 10


def test_windows_of_air_are_encoded_once(means):
    scan = noise((16, 64, 64))
    data = scan.data.copy()
    data[:, 20:, :] = 0
    seen = []
    means.point.register_forward_hook(lambda *_: seen.append(1))
    grid = extract(scan.like(data), means, exact(stages=(1,), patch=16, overlap=0.0))
    assert grid.encoder["windows"] == {"count": 16, "empty": 8, "size": [16, 16, 16], "overlap": 0.0}
    assert len(seen) == 3 * (2 + 8 + 1)  # three stages; asked twice before any window
    air = means.point.bias.detach().numpy()
    np.testing.assert_allclose(grid.data[:, :, 40:], np.broadcast_to(air[:, None, None, None], (2, 16, 24, 64)))


def test_half_precision_that_overflows_is_computed_again(means):
    with torch.no_grad():
        means.point.weight *= 1e5
    grid = extract(noise(), means, ExtractSettings((1,), 1.0, precision="float32"), precision="float16")
    assert np.isfinite(grid.data).all()
    assert grid.encoder["precision"] == "float16"


def test_a_disk_that_takes_no_more_leaves_the_old_grid(means, tmp_path):
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = extract(noise(), means, exact(stages=(3,)), out=tmp_path / "a.zarr")
    resource.setrlimit(resource.RLIMIT_FSIZE, (8000, hard))  # the first chunk is larger
    try:
        with pytest.raises(FormatError, match="what was there before is unchanged"):
            extract(noise(), means, exact(stages=(1,)), out=tmp_path / "a.zarr")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert np.array_equal(load_grid(tmp_path / "a.zarr").data[:], old.data[:])
    assert [p.name for p in tmp_path.iterdir()] == ["a.zarr"]
