"""Drawn regions on the cells of a grid."""

from __future__ import annotations

import numpy as np
import pytest

from napari_medssl.dense.grid import FeatureGrid
from napari_medssl.errors import GeometryError
from napari_medssl.explore.coverage import cells_in, coverage
from napari_medssl.volume import Volume
from tests.explore.explored import oblique


def grid_of(affine: np.ndarray) -> FeatureGrid:
    return FeatureGrid(np.zeros((1, 6, 8, 9), np.float32), affine)


@pytest.mark.parametrize("zoom", [0.25, 1.0, 3.0], ids=["fine", "same", "coarse"])
def test_shares_add_up_to_the_volume_of_the_region(zoom):
    grid = grid_of(oblique())
    to_cells = np.eye(4)
    to_cells[:3, :3] *= zoom
    to_cells[:3, 3] = (2.1, 3.2, 3.9)
    region = Volume(np.zeros((4, 4, 4), np.uint8), grid.affine @ to_cells)
    region.data[: 1 if zoom > 1 else 4, : 1 if zoom > 1 else 4, : 1 if zoom > 1 else 4] = 1
    cell_ml = abs(np.linalg.det(grid.affine[:3, :3])) / 1000
    assert coverage(grid, region).sum() * cell_ml == pytest.approx((region.data > 0).sum() * region.voxel_ml, rel=0.01)


def test_cells_themselves_drawn_are_filled_and_nothing_else():
    grid = grid_of(oblique())
    drawn = np.random.default_rng(0).integers(0, 3, grid.shape)
    np.testing.assert_allclose(coverage(grid, Volume(drawn, grid.affine), 2), drawn == 2, atol=1e-6)
    np.testing.assert_array_equal(cells_in(grid, Volume(drawn, grid.affine)), drawn > 0)


def test_one_voxel_of_a_fine_scan_is_not_lost():
    grid = grid_of(np.diag([4.0, 4, 4, 1]))
    fine = Volume(np.zeros((24, 32, 36), np.uint8), np.diag([1.0, 1, 1, 1]))
    fine.data[9, 10, 11] = 1
    found = coverage(grid, fine)
    assert np.argwhere(found).tolist() == [[2, 3, 3]]  # cell centres lie at 8, 12, 12 mm
    assert found.max() == pytest.approx(1 / 64)
    assert np.argwhere(cells_in(grid, fine)).tolist() == [[2, 3, 3]]


def test_a_region_beyond_the_grid_is_told():
    grid = grid_of(np.eye(4))
    far = np.eye(4)
    far[:3, 3] = 100
    assert not coverage(grid, Volume(np.ones((2, 2, 2), np.uint8), far)).any()
    with pytest.raises(GeometryError, match="outside the field"):
        cells_in(grid, Volume(np.ones((2, 2, 2), np.uint8), far))
