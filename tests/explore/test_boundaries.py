"""Edges of features in millimetres."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import zarr

from napari_medssl.dense.grid import FeatureGrid
from napari_medssl.errors import VolumeError
from napari_medssl.explore import cells
from napari_medssl.explore.boundaries import boundaries
from tests.explore.explored import oblique, organ_grid, organs


@pytest.mark.parametrize("shear", [0.0, 0.6])
def test_a_field_linear_in_space_has_one_gradient_whatever_the_grid(shear):
    affine = oblique((6.0, 1.5, 2.0))
    affine[:3, 2] += shear * affine[:3, 0]
    grid = FeatureGrid(np.zeros((1, 7, 8, 9), np.float32), affine)
    places = grid.centres_mm()
    slope = np.array([0.3, -0.4, 0.2])
    constant = np.full(len(places), 2.0)
    data = np.stack([places @ slope, constant]).reshape(2, 7, 8, 9).astype(np.float32)
    found = boundaries(FeatureGrid(data, affine))
    cut = np.clip(places @ slope, *np.percentile(places @ slope, (1, 99)))
    expected = np.linalg.norm(slope) / cut.std()
    assert np.median(found) == pytest.approx(expected, rel=1e-3)
    assert found.max() <= expected * 1.001


def test_edges_lie_between_organs():
    grid = organ_grid(noise=0.01)
    found = boundaries(grid)
    labels = organs()
    flat = np.ones(labels.shape, bool)  # all six neighbours in the same organ
    for axis in range(3):
        for step in (-1, 1):
            flat &= np.roll(labels, step, axis) == labels
    inner = np.zeros_like(flat)
    inner[1:-1, 1:-1, 1:-1] = flat[1:-1, 1:-1, 1:-1]
    edge = ~flat[1:-1, 1:-1, 1:-1]
    assert found[inner].max() < 0.2 * np.median(found[1:-1, 1:-1, 1:-1][edge])


def test_slabs_do_not_show(monkeypatch, tmp_path):
    grid = organ_grid(dtype=np.float16)
    whole = boundaries(grid)
    monkeypatch.setattr(cells, "SLAB_BYTES", 1)
    disk = zarr.create_array(tmp_path / "g.zarr", data=grid.data, chunks=(8, 1, 10, 12))
    np.testing.assert_allclose(boundaries(replace(grid, data=disk)), whole, rtol=1e-5)


def test_outside_the_mask_is_nothing():
    grid, body = organ_grid(), organs() > 0
    found = boundaries(grid, body)
    assert (found[~body] == 0).all()
    assert found[body].min() > 0


def test_one_slice_and_equal_vectors():
    grid = replace(organ_grid(), data=organ_grid().data[:, 2:3])
    found = boundaries(grid)
    assert np.isfinite(found).all()
    assert found.max() > 0
    with pytest.raises(VolumeError, match="all feature vectors are equal"):
        boundaries(replace(grid, data=np.ones((2, 1, 4, 4), np.float32)))
