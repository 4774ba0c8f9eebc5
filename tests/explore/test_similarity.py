"""Likeness to clicks, regions and vectors of other scans."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import zarr

from napari_medssl.dense.grid import FeatureGrid
from napari_medssl.errors import GeometryError, SettingsError, VolumeError
from napari_medssl.explore.similarity import mean_vector, similarity, similarity_index, vector_at
from tests.explore.explored import mask_on, oblique, organ_grid, organs


def in_organ(grid: FeatureGrid, n: int) -> np.ndarray:
    """RAS mm of a cell in the middle of an organ."""
    cells = np.argwhere(organs(grid.shape) == n)
    return grid.affine[:3, :3] @ cells[len(cells) // 2] + grid.affine[:3, 3]


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a @ b.T) / np.linalg.norm(a, axis=1)[:, None] / np.linalg.norm(b, axis=1)


@pytest.mark.parametrize("kept_bytes", [0, 1 << 30], ids=["reading", "kept"])
@pytest.mark.parametrize("form", ["plain", "centred", "scaled"])
def test_maps_are_cosines(kept_bytes, form):
    grid = organ_grid(affine=oblique())
    how = {"centring": form != "plain", "scaling": form == "scaled"}
    index = similarity_index(grid, kept_bytes=kept_bytes, **how)
    assert (index.units is None) == (kept_bytes == 0)
    point, vectors = in_organ(grid, 2), grid.vectors()
    rows = np.concatenate([vector_at(grid, point)[None], vectors])
    if form == "scaled":
        rows = np.clip(rows, *np.percentile(vectors, (1, 99), axis=0))
        rows = (rows - rows[1:].mean(0)) / rows[1:].std(0)
    elif form == "centred":
        rows = rows - vectors.mean(0)
    expected = cosine(rows[1:], rows[:1])[:, 0].reshape(grid.shape)
    np.testing.assert_allclose(index.click(point), expected, atol=1e-4)
    np.testing.assert_allclose(similarity(grid, vector_at(grid, point), **how), expected, atol=1e-4)


def test_a_click_shows_its_organ_in_this_and_another_scan_when_centred():
    first, second = organ_grid(seed=0, shift=30), organ_grid(seed=1, shift=30, affine=oblique())
    a, b = similarity_index(first), similarity_index(second)
    for found in (a.click(in_organ(first, 3)), b.map(a.at(in_organ(first, 3)))):
        assert found[organs() == 3].min() > 0.9
        assert found[organs() != 3].max() < 0.7
    plain = similarity_index(first, centring=False).click(in_organ(first, 3))
    assert plain.min() > 0.95  # the mean that all share hides what differs


def test_several_and_negative_clicks():
    grid = organ_grid()
    index = similarity_index(grid)
    both = index.click([in_organ(grid, 2), in_organ(grid, 3)])
    assert both[(organs() == 2) | (organs() == 3)].min() > 0.9
    mean = index.click([in_organ(grid, 2), in_organ(grid, 3)], combine="mean")
    np.testing.assert_allclose(
        mean.ravel(),
        cosine(index.units.T, index.at([in_organ(grid, 2), in_organ(grid, 3)]).mean(0)[None])[:, 0],
        atol=1e-5,
    )
    less = index.click([in_organ(grid, 2), in_organ(grid, 3)], [in_organ(grid, 3)])
    assert less[organs() == 2].min() > 0.9
    assert less[organs() == 3].max() < 0.7
    np.testing.assert_array_equal(index.click(in_organ(grid, 2), np.empty((0, 3))), index.click(in_organ(grid, 2)))


def test_a_region_is_its_mean():
    grid = organ_grid(affine=oblique())
    region = mask_on(grid, organs())
    np.testing.assert_allclose(mean_vector(grid, region, 3), grid.vectors()[(organs() == 3).ravel()].mean(0), atol=1e-4)
    index = similarity_index(grid)
    assert index.map(index.of_region(region, 3))[organs() == 3].min() > 0.95


def test_everything_stays_finite_and_in_range(tmp_path):
    data = organ_grid(dtype=np.float16).data[:, :1].copy()
    data[0, 0, 0, 0], data[3], data[:, 0, 5, 5] = np.nan, 2.0, np.inf
    disk = zarr.create_array(tmp_path / "g.zarr", data=data, chunks=(8, 1, 4, 4))
    for centring in (False, True):
        for kept in (0, 1 << 30):
            index = similarity_index(FeatureGrid(disk, np.eye(4)), centring=centring, kept_bytes=kept)
            found = index.click([[0, 4, 4], [0, 5, 5]], [[0, 0, 0]])
            assert np.isfinite(found).all()
            assert np.abs(found).max() <= 1


def test_impossible_questions_are_told():
    grid = organ_grid()
    index = similarity_index(grid)
    with pytest.raises(GeometryError, match="outside the features' field"):
        index.click([500.0, 0, 0])
    with pytest.raises(GeometryError, match="outside the features' field"):
        index.click([np.nan, 0, 0])
    with pytest.raises(SettingsError, match="three numbers"):
        index.click([])
    with pytest.raises(SettingsError, match="0 vectors of 8 channels; at least one"):
        index.click(np.zeros((0, 3)))
    with pytest.raises(SettingsError, match="3 channels; at least one of 8"):
        index.map(np.ones((1, 3), np.float32))
    with pytest.raises(SettingsError, match="this grid has 8"):
        similarity(grid, np.ones(5))
    with pytest.raises(GeometryError, match="draw inside the scan"):
        mean_vector(grid, mask_on(grid, np.zeros(grid.shape)))
    with pytest.raises(VolumeError, match="all feature vectors are equal"):
        similarity_index(replace(grid, data=np.full((8, 2, 3, 3), 0.3, np.float16)))
    same = similarity_index(replace(grid, data=np.full((8, 2, 3, 3), 0.3, np.float16)), centring=False)
    np.testing.assert_allclose(same.click([0.0, 0, 0]), 1, atol=1e-5)
