"""Superpixels: numbering, body, size, robustness."""

from __future__ import annotations

import numpy as np
import pytest

from napari_medssl.oneshot.superpixels import (
    SuperpixelSettings,
    body_mask,
    superpixels,
)


@pytest.fixture
def slice_yx() -> np.ndarray:
    """A disc body (0.3) with a bright organ (0.9) and a black lung inside, on noise-free air."""
    y, x = np.mgrid[:128, :128]
    image = np.where((y - 64) ** 2 + (x - 64) ** 2 < 50**2, 0.3, 0.0)
    image[(y - 64) ** 2 + (x - 45) ** 2 < 14**2] = 0.9
    image[(y - 64) ** 2 + (x - 85) ** 2 < 10**2] = 0.0
    return image + np.random.default_rng(0).normal(0, 0.005, image.shape) * (image > 0)


def test_numbers_are_dense_and_air_is_zero(slice_yx: np.ndarray) -> None:
    parts = superpixels(slice_yx)
    assert parts.dtype == np.int32
    assert parts.shape == slice_yx.shape
    assert np.array_equal(np.unique(parts), np.arange(parts.max() + 1))
    y, x = np.mgrid[:128, :128]
    outside = (y - 64) ** 2 + (x - 64) ** 2 > 53**2
    assert not parts[outside].any()


def test_a_dark_hole_inside_the_body_is_body(slice_yx: np.ndarray) -> None:
    assert body_mask(slice_yx)[64, 85]
    assert superpixels(slice_yx)[64, 85] > 0


def test_the_superpixel_under_a_click_is_the_organ(slice_yx: np.ndarray) -> None:
    parts = superpixels(slice_yx)
    y, x = np.mgrid[:128, :128]
    organ = (y - 64) ** 2 + (x - 45) ** 2 < 14**2
    mask = parts == parts[64, 45]
    assert (mask & organ).sum() / (mask | organ).sum() > 0.8


def test_intensity_scale_does_not_matter(slice_yx: np.ndarray) -> None:
    assert np.array_equal(superpixels(slice_yx), superpixels(slice_yx * 1000 - 500))


def test_min_size_is_stated_for_256_and_follows_the_area(slice_yx: np.ndarray) -> None:
    # Inside the body, away from its edge, no superpixel is smaller than min_size * (128 * 128) / (256 * 256).
    parts = superpixels(slice_yx, SuperpixelSettings(min_size=400, body="none"))
    assert np.bincount(parts.ravel())[1:].min() >= 100
    assert np.bincount(parts.ravel())[1:].min() < 400


def test_only_the_largest_part_is_body() -> None:
    image = np.zeros((64, 64))
    image[5:40, 5:40] = 1.0
    image[50:60, 50:60] = 1.0
    assert not superpixels(image)[55, 55]
    assert superpixels(image, SuperpixelSettings(largest_only=False))[55, 55]


def test_body_thresholds() -> None:
    image = np.full((32, 32), -1000.0)
    image[8:24, 8:24] = 40.0
    image[10:14, 10:14] = 400.0
    assert body_mask(image, SuperpixelSettings(body="positive")).sum() == 16 * 16
    assert body_mask(image, SuperpixelSettings(body="value", body_value=100.0)).sum() == 4 * 4
    assert body_mask(image, SuperpixelSettings(body="none")).all()


@pytest.mark.parametrize("image", [np.zeros((16, 16)), np.full((16, 16), np.nan), np.full((16, 16), 7)])
def test_a_slice_without_contrast_has_no_superpixels(image: np.ndarray) -> None:
    assert not superpixels(image).any()


def test_missing_values_count_as_dark(slice_yx: np.ndarray) -> None:
    broken = slice_yx.copy()
    broken[:4] = np.nan
    broken[0, 0] = np.inf
    assert np.array_equal(superpixels(broken) > 0, superpixels(slice_yx) > 0)


def test_a_volume_is_refused() -> None:
    with pytest.raises(ValueError, match="2 axes"):
        superpixels(np.zeros((3, 8, 8)))
