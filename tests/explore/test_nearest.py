"""Points found again in another scan."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import zarr
from scipy import ndimage

from napari_medssl.dense.grid import FeatureGrid
from napari_medssl.errors import GeometryError
from napari_medssl.explore.nearest import NearestSettings, nearest_points
from napari_medssl.explore.place import place_by_boxes, place_by_matches
from napari_medssl.explore.similarity import similarity_index
from tests.explore.explored import ENCODER

SHIFT = np.array([12.0, -8.0, 20.0])
ALONE = NearestSettings(around_mm=0)


def field(points: np.ndarray, channels: int = 12) -> np.ndarray:
    """Smooth random features of places in the body, periodic beyond 100 mm: the same for every grid."""
    rng = np.random.default_rng(5)
    waves = rng.normal(0, 0.08, (channels, 3))
    return np.cos(points @ waves.T + rng.uniform(0, 6, channels)).T + 3.0


def scan(affine: np.ndarray, shape: tuple[int, int, int], shift: np.ndarray, noise: int = 0) -> FeatureGrid:
    empty = FeatureGrid(np.zeros((1, *shape), np.float32), affine)
    data = field(empty.centres_mm() - shift) + 0.02 * np.random.default_rng(noise).normal(size=(12, np.prod(shape)))
    return FeatureGrid(data.reshape(12, *shape).astype(np.float32), affine, {}, ENCODER)


def first() -> FeatureGrid:
    affine = np.array([[0, 0, -5.0, 60], [0, -5.0, 0, 55], [6.0, 0, 0, -40], [0, 0, 0, 1]])
    return scan(affine, (14, 22, 24), np.zeros(3))


def second() -> FeatureGrid:
    """The same body, moved by SHIFT, on a grid with other axes and more of it in view."""
    affine = np.array([[4.5, 0, 0, -60], [0, 0, 5.5, -70], [0, 6.0, 0, -50], [0, 0, 0, 1]])
    return scan(affine, (32, 18, 25), SHIFT, noise=1)


POINTS = np.random.default_rng(2).uniform((-35, -35, -20), (35, 35, 25), (12, 3))


@pytest.mark.parametrize("settings", [ALONE, NearestSettings(around_mm=10)], ids=["alone", "neighbours"])
def test_points_are_found_where_they_went_within_a_cell(settings):
    found = nearest_points(first(), POINTS, second(), settings=settings)
    error = np.linalg.norm(found.points_mm - POINTS - SHIFT, axis=1)
    assert error.max() < 4.5  # cells are 4.5 to 6 mm
    assert found.similarity.min() > 0.9
    assert (found.margin > 0.03).all()
    assert found.mutual.all()
    assert found.cycle_mm.max() < 6


def test_a_grid_on_disk_and_an_index_answer_the_same(tmp_path):
    b = second()
    data = zarr.create_array(tmp_path / "b.zarr", data=b.data, chunks=(12, 8, 8, 8))
    index = similarity_index(replace(b, data=data), kept_bytes=0)
    ours, theirs = (nearest_points(first(), POINTS[:3], x, settings=NearestSettings(around_mm=8)) for x in (b, index))
    np.testing.assert_allclose(ours.points_mm, theirs.points_mm, atol=0.01)
    np.testing.assert_allclose(ours.margin, theirs.margin, atol=1e-4)


def test_the_expected_place_decides_between_twins():
    twins = np.zeros((2, 1, 3, 21), np.float32)
    twins[0] = 1
    twins[1, 0, 1, [4, 16]] = 5  # two bright cells 60 mm apart
    affine = np.diag([5.0, 5, 5, 1])
    a = FeatureGrid(twins[..., :12], affine, {}, ENCODER)
    b = FeatureGrid(twins, affine, {}, ENCODER)
    point = [[0.0, 5.0, 20.0]]
    affine_there = np.eye(4)
    for x, expected in ((0.0, 20.0), (60.0, 80.0)):
        affine_there[2, 3] = x
        found = nearest_points(a, point, b, place=affine_there, settings=ALONE)
        assert found.points_mm[0, 2] == pytest.approx(expected, abs=2.5)
    blind = nearest_points(a, point, b, settings=ALONE)
    assert blind.margin[0] == pytest.approx(0, abs=1e-4)  # without a place it says that it guesses


def test_neighbours_decide_between_places_that_look_alike():
    rng = np.random.default_rng(0)
    data = ndimage.gaussian_filter1d(rng.normal(size=(6, 1, 1, 60)), 1.0, axis=3).astype(np.float32)
    data[:, 0, 0, 10] = data[:, 0, 0, 45] = (3, 1, 2, -1, 0, 2)
    affine = np.diag([5.0, 5, 5, 1])
    a = FeatureGrid(data, affine, {}, ENCODER)
    changed = data.copy()
    changed[:, 0, 0, 10] *= 0.98
    changed[0, 0, 0, 10] += 0.3  # by itself the wrong place fits better
    b = FeatureGrid(changed, affine, {}, ENCODER)
    settings = NearestSettings(around_mm=5)
    assert nearest_points(a, [0, 0, 50], b, settings=settings).points_mm[0, 2] == pytest.approx(50, abs=2.5)
    assert nearest_points(a, [0, 0, 50], b, settings=ALONE).points_mm[0, 2] == pytest.approx(225, abs=2.5)


def test_places_from_matches_and_from_boxes():
    a, b = first(), second()
    found = place_by_matches(similarity_index(a), similarity_index(b), count=150)
    np.testing.assert_allclose(POINTS @ found[:3, :3].T + found[:3, 3], POINTS + SHIFT, atol=2.0)
    body_a, body_b = (np.linalg.norm(g.centres_mm() - m, axis=1) < 30 for g, m in ((a, (0, 0, 0)), (b, SHIFT)))
    boxes = place_by_boxes(a, body_a.reshape(a.shape), b, body_b.reshape(b.shape))
    np.testing.assert_allclose(POINTS @ boxes[:3, :3].T + boxes[:3, 3], POINTS + SHIFT, atol=4.0)


def test_places_of_unlike_scans_fall_back_on_the_boxes():
    rng = np.random.default_rng(0)
    a, b = (FeatureGrid(rng.normal(size=(12, 2, 3, 3)), np.eye(4), {}, ENCODER) for _ in range(2))
    np.testing.assert_allclose(
        place_by_matches(similarity_index(a), similarity_index(b), count=8), np.eye(4), atol=1e-9
    )


def test_no_points_and_wrong_ones():
    a, b = first(), second()
    assert nearest_points(a, np.zeros((0, 3)), b).points_mm.shape == (0, 3)
    with pytest.raises(GeometryError, match="outside the features' field"):
        nearest_points(a, [0, 0, 900], b)
    with pytest.raises(GeometryError, match="extract both scans"):
        nearest_points(a, POINTS, replace(b, encoder={**ENCODER, "name": "other"}))
