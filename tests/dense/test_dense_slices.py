"""Features of slice encoders as grids."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_medssl.dense.extract import ExtractSettings, extract
from napari_medssl.dense.slices import stack_grid_steps
from napari_medssl.engine import Engine
from napari_medssl.intensity import IntensitySettings
from napari_medssl.models.features import FeatureStack
from napari_medssl.models.slices import make_frame
from napari_medssl.progress import finish
from tests.dense.conftest import centre_of, scan_with_marker, turned_affine
from tests.dense.test_extract import ORIENTATIONS, noise

FULL = IntensitySettings("full")


@pytest.mark.parametrize(("spacing", "axes", "flips", "angle"), ORIENTATIONS)
@pytest.mark.parametrize("cell_mm", [0.0, 9.0])
def test_a_marker_is_found_at_its_place(slice_means, spacing, axes, flips, angle, cell_mm):
    shape = tuple(int(n / s) for n, s in zip((60, 70, 50), spacing, strict=True))
    scan, where = scan_with_marker(shape, turned_affine(spacing, axes, flips, angle), [0.45 * n for n in shape])
    settings = ExtractSettings(cell_mm=cell_mm, normalise=False, precision="float32", intensity=FULL)
    grid = extract(scan, slice_means, settings)
    assert np.linalg.norm(centre_of(grid, grid.data[0]) - where) < 0.4
    if not cell_mm:
        assert grid.shape[0] == shape[0]


def test_cells_cover_the_slice_and_no_more(slice_means):
    grid = extract(noise((4, 33, 61)), slice_means, ExtractSettings(normalise=False))
    low, high = (np.array(grid.index_of([p])[0]) for p in ((0, 0, 0), (3, 32, 60)))
    assert np.all(low > -1)
    assert np.all(high < np.array(grid.shape))


def test_stack_and_scan_give_one_grid(slice_means):
    scan = noise((5, 40, 60))
    frame = make_frame(scan.shape[1:], (1.0, 1.0), 64)
    from napari_medssl.intensity import window_limits
    from napari_medssl.models.slices import slice_batch

    batch = slice_batch(scan, range(5), frame, 3, limits=window_limits(scan))
    stack = FeatureStack(slice_means(batch).half(), frame, 4)
    for settings in (ExtractSettings(), ExtractSettings(cell_mm=12.0, normalise=False)):
        one = finish(stack_grid_steps(scan, stack, settings, facts={}))
        other = extract(scan, slice_means, settings)
        assert np.array_equal(one.affine, other.affine)
        np.testing.assert_allclose(one.data, other.data, atol=2e-3)


def test_the_engine_takes_its_own_slice_encoder(tiny_volume):
    with Engine(device="cpu", weights="none") as engine:
        grid = engine.grid(tiny_volume, weights="slices")
        assert grid.channels == engine.encoder.channels
        assert grid.shape[0] == tiny_volume.shape[0]
        assert grid.encoder["weights_sha256"] == engine.weights_hash
        assert engine.cache.statistics.entries == 1  # encoded once, for segmentation, too
        assert np.allclose(np.linalg.norm(grid.vectors(), axis=1), 1, atol=1e-2)
        assert torch.is_tensor(engine.features(tiny_volume).data)
        again = engine.grid(tiny_volume, weights="none")
        np.testing.assert_allclose(again.data.astype(float), grid.data.astype(float), atol=3e-3)
