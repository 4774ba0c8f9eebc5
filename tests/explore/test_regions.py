"""Regions found without labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import zarr
from scipy import ndimage
from sklearn.metrics import adjusted_rand_score

from napari_medssl.dense.grid import FeatureGrid
from napari_medssl.errors import FormatError, GeometryError, SettingsError, VolumeError
from napari_medssl.explore.regions import RegionSettings, find_regions, load_regions, same_regions
from napari_medssl.explore.small_pieces import join_small
from tests.explore.explored import ENCODER, oblique, organ_grid, organs


def agreement(a: np.ndarray, b: np.ndarray) -> float:
    return float(adjusted_rand_score(a.ravel(), b.ravel()))


def test_kmeans_finds_the_organs_and_finds_them_again_in_another_scan():
    first, second = organ_grid(seed=0), organ_grid(seed=1, affine=oblique())
    regions = find_regions(first, RegionSettings(count=4, min_mm3=0))
    assert agreement(regions.labels, organs()) == 1
    np.testing.assert_array_equal(same_regions(regions, second), regions.labels)
    sizes = np.bincount(regions.labels.ravel())[1:]
    assert (np.diff(sizes) <= 0).all()  # the largest is 1
    np.testing.assert_allclose(regions.volumes_mm3(first), sizes * 16)
    mean = first.data[:, regions.labels == 1].mean(1)
    np.testing.assert_allclose(regions.centres[0], mean, atol=0.02)
    again = find_regions(first, RegionSettings(count=4, min_mm3=0))
    np.testing.assert_array_equal(again.labels, regions.labels)


@pytest.mark.filterwarnings("error")
def test_agglomerative_regions_are_connected_and_follow_the_organs():
    grid = organ_grid((10, 18, 20), noise=0.3)
    settings = RegionSettings("agglomerative", count=4, min_mm3=0, supervoxels=300)
    regions = find_regions(grid, settings)
    assert agreement(regions.labels, organs((10, 18, 20))) > 0.9
    for n in range(1, regions.count + 1):
        assert ndimage.label(regions.labels == n)[1] == 1
    np.testing.assert_array_equal(find_regions(grid, settings).labels, regions.labels)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("method", ["kmeans", "agglomerative"])
def test_outside_the_mask_is_nothing_even_in_two_parts(method):
    grid = organ_grid((6, 12, 24))
    mask = np.zeros(grid.shape, bool)
    mask[:, :, :9] = mask[:, :, 14:] = True
    regions = find_regions(grid, RegionSettings(method, count=3, min_mm3=0, supervoxels=60), mask=mask)
    np.testing.assert_array_equal(regions.labels > 0, mask)
    assert regions.count == 3


@pytest.mark.parametrize("method", ["kmeans", "agglomerative"])
def test_one_slice_on_disk_with_constant_channels_and_numbers_missing(method, tmp_path):
    data = organ_grid(dtype=np.float16).data[:, 2:3].copy()
    data[5] = 1.0
    data[0, 0, 3, 3] = np.nan
    grid = FeatureGrid(zarr.create_array(tmp_path / "g.zarr", data=data, chunks=(4, 1, 5, 5)), np.diag([4.0, 2, 2, 1]))
    regions = find_regions(grid, RegionSettings(method, count=4, min_mm3=40, supervoxels=50))
    assert np.isfinite(regions.centres).all()
    assert regions.labels.min() >= 1


def test_fewer_different_vectors_than_regions():
    data = np.zeros((2, 1, 4, 4), np.float32)
    data[:, :, :2] = 1
    assert find_regions(FeatureGrid(data, np.eye(4)), RegionSettings(count=8, min_mm3=0)).count == 2
    with pytest.raises(VolumeError, match="all feature vectors are equal"):
        find_regions(FeatureGrid(np.ones((2, 1, 4, 4), np.float32), np.eye(4)))


def test_small_pieces_join_what_surrounds_them():
    labels = np.ones((3, 9, 9), np.int32)
    labels[:, :, 6:] = 2
    labels[1, 2:4, 2:4] = 3  # 4 cells of 8 mm³
    labels[0, 0, 8] = 4
    labels[2, 8, 0] = 0
    grid = FeatureGrid(np.zeros((1, 3, 9, 9), np.float32), np.diag([2.0, 2, 2, 1]))
    found = join_small(labels, grid, 33.0)
    assert (found[1, 2:4, 2:4] == 1).all()
    assert found[0, 0, 8] == 2
    assert found[2, 8, 0] == 0
    np.testing.assert_array_equal(found != labels, labels > 2)
    assert (join_small(labels, grid, 32.0)[1, 2:4, 2:4] == 3).all()
    np.testing.assert_array_equal(join_small(labels, grid, 1e6), labels)


def test_a_file_and_another_space(tmp_path):
    grid = organ_grid()
    regions = find_regions(grid, RegionSettings(count=4))
    regions.save(tmp_path / "r.npz")
    loaded = load_regions(tmp_path / "r.npz")
    np.testing.assert_array_equal(loaded.labels, regions.labels)
    np.testing.assert_array_equal(same_regions(loaded, grid), same_regions(regions, grid))
    with pytest.raises(GeometryError, match="these regions are made from"):
        same_regions(regions, replace(grid, encoder={**ENCODER, "stages": [1]}))
    with pytest.raises(FormatError, match="no file"):
        load_regions(tmp_path / "none.npz")
    with pytest.raises(SettingsError, match="count is 1"):
        find_regions(grid, RegionSettings(count=1))
