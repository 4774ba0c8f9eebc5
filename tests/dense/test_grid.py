"""Feature grids: their geometry, and vectors between cells."""

from __future__ import annotations

import numpy as np
import pytest

from napari_medssl.dense.grid import FeatureGrid, grid_source
from napari_medssl.errors import GeometryError
from napari_medssl.volume import Volume


def oblique() -> np.ndarray:
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    affine = np.eye(4)
    affine[:3, :3] = turn * (4.0, 2.0, 3.0)
    affine[:3, 3] = (10, -20, 30)
    return affine


def ramps() -> FeatureGrid:
    """Channels that are linear in the cell index, which trilinear interpolation gives back exactly."""
    z, y, x = np.indices((5, 6, 7)).astype(np.float32)
    return FeatureGrid(np.stack([z, y, x, 2 * z - y]), oblique())


def test_vectors_between_cells_follow_the_affine():
    grid = ramps()
    index = np.random.default_rng(0).uniform(0, (4, 5, 6), (20, 3))
    points = index @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    np.testing.assert_allclose(grid.index_of(points), index, atol=1e-9)
    found = grid.at(points)
    np.testing.assert_allclose(found[:, :3], index, atol=1e-5)
    np.testing.assert_allclose(found[:, 3], 2 * index[:, 0] - index[:, 1], atol=1e-5)


def test_points_beyond_the_grid_get_the_border():
    grid = ramps()
    far = grid.affine[:3, :3] @ (50.0, -50.0, 3.0) + grid.affine[:3, 3]
    np.testing.assert_allclose(grid.at(far), [[4, 0, 3, 8]], atol=1e-5)


def test_vectors_and_centres_are_in_one_order():
    grid = ramps()
    np.testing.assert_allclose(grid.at(grid.centres_mm()), grid.vectors(), atol=1e-4)
    assert grid.spacing_mm == pytest.approx((4.0, 2.0, 3.0))
    assert (grid.channels, grid.shape, grid.nbytes) == (4, (5, 6, 7), 4 * 210 * 4)


def test_spaces_differ_by_weights_and_stages():
    def grid(**facts: object) -> FeatureGrid:
        return FeatureGrid(np.zeros((2, 3, 3, 3), np.float32), np.eye(4), {}, {"name": "unet3d", "stages": [4]} | facts)

    assert grid(weights_sha256="a").space == grid(weights_sha256="a", precision="float16").space
    assert grid(weights_sha256="a").space != grid(weights_sha256="b").space
    assert grid(weights_sha256="a").space != grid(weights_sha256="a", stages=[3]).space


@pytest.mark.parametrize(
    ("data", "affine", "told"),
    [
        (np.zeros((3, 4, 5)), np.eye(4), r"4 axes \(C, Z, Y, X\)"),
        (np.zeros((3, 4, 0, 5)), np.eye(4), "none empty"),
        (np.zeros((3, 4, 4, 5)), np.diag([1.0, 0, 1, 1]), "singular"),
        (np.zeros((3, 4, 4, 5)), np.full((4, 4), np.nan), "finite"),
    ],
)
def test_impossible_grids_are_refused(data, affine, told):
    with pytest.raises(GeometryError, match=told):
        FeatureGrid(data, affine)


def test_a_grid_remembers_its_scan(tmp_path):
    volume = Volume(np.zeros((3, 4, 5), np.float32), np.diag([5.0, 1, 1, 1]), "CT", source=tmp_path / "a.nii.gz")
    facts = grid_source(volume)
    assert facts["sha256"] == volume.content_hash
    assert (facts["shape"], facts["spacing_mm"]) == ([3, 4, 5], [5.0, 1.0, 1.0])
    assert (facts["file"], facts["modality"]) == ("a.nii.gz", "CT")
