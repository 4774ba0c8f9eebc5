"""Fields of a grid on the voxels of a scan."""

from __future__ import annotations

import numpy as np
import pytest

from napari_medssl.dense.grid import FeatureGrid
from napari_medssl.errors import GeometryError
from napari_medssl.explore import onto
from napari_medssl.explore.onto import onto_volume
from napari_medssl.volume import Volume
from tests.explore.explored import oblique

TURNS = {
    "same axes": [[2.0, 0, 0, 3], [0, 1.5, 0, 1], [0, 0, 1.0, 2], [0, 0, 0, 1]],
    "flipped": [[-2.0, 0, 0, 15], [0, 1.5, 0, 1], [0, 0, -1.0, 11], [0, 0, 0, 1]],
    "turned": [[0, 0, 2.0, 3], [1.5, 0, 0, 1], [0, -1.0, 0, 14], [0, 0, 0, 1]],
}


def linear_field(grid: FeatureGrid) -> np.ndarray:
    """A field that is linear in space, so that interpolation gives it back everywhere between the centres."""
    return (grid.centres_mm() @ [0.3, -0.2, 0.1] + 4).reshape(grid.shape)


@pytest.mark.parametrize("affine", [*TURNS.values(), oblique((1.0, 0.7, 0.8))], ids=[*TURNS, "oblique"])
def test_a_linear_field_is_itself_at_every_voxel(affine, monkeypatch):
    monkeypatch.setattr(onto, "_SLAB_VOXELS", 200)  # several slabs
    grid = FeatureGrid(np.zeros((1, 9, 11, 10), np.float32), np.diag([2.0, 2.0, 2.0, 1]))
    affine = np.array(affine)
    if affine[0, 3] == 10:  # the oblique one: its middle to the middle of the grid
        affine[:3, 3] = (8, 10, 9) - affine[:3, :3] @ (2.5, 3.5, 3)
    volume = Volume(np.zeros((6, 8, 7)), affine)
    index = np.indices(volume.shape).reshape(3, -1).T
    points = index @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    at = grid.index_of(points)
    between = ((at >= 0) & (at <= np.array(grid.shape) - 1)).all(1).reshape(volume.shape)
    outside = ((at < -0.5) | (at > np.array(grid.shape) - 0.5)).any(1).reshape(volume.shape)
    found = onto_volume(linear_field(grid), grid, volume, fill=-99)
    assert found.dtype == np.float32
    assert between.any()
    np.testing.assert_allclose(
        found[between], (points @ [0.3, -0.2, 0.1] + 4).reshape(volume.shape)[between], atol=1e-4
    )
    np.testing.assert_array_equal(found[outside], -99)
    labels = np.random.default_rng(0).integers(0, 9, grid.shape).astype(np.int32)
    nearest = onto_volume(labels, grid, volume, order=0, fill=-1)
    cell = np.clip(np.floor(at + 0.5).astype(int), 0, np.array(grid.shape) - 1)
    expected = np.where(outside, -1, labels[tuple(cell.T)].reshape(volume.shape))
    assert nearest.dtype == np.int32
    np.testing.assert_array_equal(nearest, expected)


def test_both_ways_agree_and_colours_go_channel_by_channel(monkeypatch):
    grid = FeatureGrid(np.zeros((1, 4, 5, 6), np.float32), np.diag([3.0, 2, 2, 1]))
    volume = Volume(np.zeros((7, 9, 9)), np.array(TURNS["turned"]))
    rgb = np.random.default_rng(0).random((4, 5, 6, 3)).astype(np.float32)
    quick = onto_volume(rgb, grid, volume)
    monkeypatch.setattr(onto, "_parallel", lambda *_: False)
    np.testing.assert_allclose(quick, onto_volume(rgb, grid, volume), atol=1e-5)
    np.testing.assert_allclose(quick[..., 1], onto_volume(rgb[..., 1], grid, volume), atol=1e-5)
    mask = rgb[..., 0] > 0.5
    assert onto_volume(mask, grid, volume, order=0).dtype == bool


def test_the_border_goes_on_for_half_a_cell_also_on_one_slice():
    grid = FeatureGrid(np.zeros((1, 1, 2, 2), np.float32), np.diag([8.0, 2, 2, 1]))
    affine = np.diag([1.0, 1, 1, 1])
    affine[0, 3] = -6
    found = onto_volume(np.array([[[1.0, 3], [1, 3]]]), grid, Volume(np.zeros((13, 3, 3)), affine), fill=0)
    assert (found[:, 0, 0] > 0).tolist() == [False] * 2 + [True] * 9 + [False] * 2
    np.testing.assert_allclose(found[6, 0], [1, 2, 3])


def test_a_field_that_does_not_fit_is_refused():
    grid = FeatureGrid(np.zeros((1, 4, 5, 6), np.float32), np.eye(4))
    with pytest.raises(GeometryError, match=r"field of shape \(3, 5, 6\) does not fit a grid of \(4, 5, 6\)"):
        onto_volume(np.zeros((3, 5, 6)), grid, Volume(np.zeros((2, 2, 2)), np.eye(4)))
