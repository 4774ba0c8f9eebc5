"""The patient among the cells."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from napari_medssl.dense.grid import FeatureGrid
from napari_medssl.explore.body import body_cells
from napari_medssl.volume import Volume


def phantom(air: float, tissue: float) -> tuple[Volume, np.ndarray]:
    """A cylinder with a dark hole and a bright table beside it, (8, 40, 40) voxels; and the cylinder as a mask."""
    y, x = np.indices((40, 40))
    body = np.broadcast_to(np.hypot(y - 18, x - 20) < 14, (8, 40, 40))
    data = np.where(body, tissue, air).astype(np.float32)
    data[:, 14:20, 18:24] = air
    data[:, 37:39] = tissue
    return Volume(data + np.random.default_rng(0).normal(0, 5, data.shape), np.diag([5.0, 2, 2, 1])), body


@pytest.mark.parametrize(("air", "tissue"), [(-1000, 40), (10, 300)], ids=["CT", "MR"])
def test_the_body_is_found_with_its_holes_and_without_the_table(air, tissue):
    volume, body = phantom(air, tissue)
    affine = np.diag([5.0, 4, 4, 1])
    affine[:3, 3] = (0, 1, 1)
    grid = FeatureGrid(np.zeros((1, 8, 20, 20), np.float32), affine)
    found = body_cells(grid, volume)
    truth = body.reshape(8, 20, 2, 20, 2).mean((2, 4))
    edge = np.ones((1, 3, 3), bool)  # a cell at the rim may fall on either side
    assert found[ndimage.binary_erosion(truth == 1, edge)].all()
    assert not found[~ndimage.binary_dilation(truth > 0, edge)].any()


def test_a_constant_scan_is_all_body():
    grid = FeatureGrid(np.zeros((1, 2, 3, 4), np.float32), np.eye(4))
    assert body_cells(grid, Volume(np.zeros((2, 3, 4), np.float32), np.eye(4))).all()


def test_cells_beyond_the_scan_are_not_body():
    volume, _ = phantom(10, 300)
    grid = FeatureGrid(np.zeros((1, 16, 20, 20), np.float32), np.diag([5.0, 4, 4, 1]))
    assert not body_cells(grid, volume)[8:].any()
