"""Boxes cut from scans: inside, padded, and seldom empty."""

from __future__ import annotations

import numpy as np
import pytest

from napari_medssl.errors import SettingsError
from napari_medssl.pretext.crops3d import check_size, cut, draw_corner, draw_crop, enlarged, fitting, shrunk
from napari_medssl.pretext.scan import Scan


def make_scan(shape: tuple[int, int, int], *, low: int = 60) -> Scan:
    image = np.random.default_rng(0).integers(low, 256, shape, dtype=np.uint8)
    image.flags.writeable = False  # as a read-only memory map is
    return Scan(image, None, (2.0, 2.0, 2.0), "scan.nii", "group", "subject")


def test_a_crop_is_a_writable_copy_of_some_place() -> None:
    scan = make_scan((12, 20, 24))
    for n in range(20):
        corner = draw_corner(scan.image, (8, 16, 16), np.random.default_rng(n))
        crop = draw_crop(scan, (8, 16, 16), np.random.default_rng(n))
        z, y, x = corner
        np.testing.assert_array_equal(crop, scan.image[z : z + 8, y : y + 16, x : x + 16])
        crop[:] = 0
    assert scan.image.min() >= 60


def test_every_place_can_be_drawn() -> None:
    image = make_scan((9, 8, 10)).image
    rng = np.random.default_rng(0)
    assert {draw_corner(image, (8, 8, 8), rng) for _ in range(100)} == {(z, 0, x) for z in (0, 1) for x in (0, 1, 2)}


def test_a_small_scan_lies_in_the_middle_of_zeros() -> None:
    scan = make_scan((5, 20, 8))
    crop = draw_crop(scan, (8, 16, 16), np.random.default_rng(0))
    assert crop.shape == (8, 16, 16)
    assert (crop > 0).sum() == 5 * 16 * 8
    assert (crop[1:6, :, 4:12] > 0).all()


@pytest.mark.parametrize("corner", [(-20, 0, 0), (0, 50, 0), (0, 0, -8)])
def test_a_box_outside_the_scan_is_empty(corner: tuple[int, int, int]) -> None:
    assert not cut(make_scan((8, 8, 8)).image, corner, (8, 8, 8)).any()


def test_a_box_across_the_border_keeps_its_part_in_place() -> None:
    image = make_scan((8, 8, 8)).image
    np.testing.assert_array_equal(cut(image, (-3, 0, 6), (8, 8, 8))[3:, :, :2], image[:5, :, 6:])


def test_a_box_shrinks_in_proportion_and_is_enlarged_again() -> None:
    size = (8, 16, 16)
    assert shrunk(size, fitting(size, (4, 60, 12))) == (4, 8, 8)
    assert fitting(size, (8, 16, 20)) == 1
    box = np.repeat(np.arange(4, dtype=np.uint8)[:, None, None] * 40, 8, 1).repeat(8, 2)
    larger = enlarged(box, size)
    assert larger.shape == size
    np.testing.assert_array_equal(larger[:, 0, 0], [0, 10, 30, 50, 70, 90, 110, 120])  # half-voxel steps between
    assert enlarged(box, (4, 8, 8)) is box


def test_air_is_mostly_avoided_but_no_scan_is_refused() -> None:
    image = np.zeros((8, 8, 80), np.uint8)
    image[:, :, :30] = 200
    rng = np.random.default_rng(0)
    with_body = np.mean([draw_corner(image, (8, 8, 8), rng)[2] < 30 for _ in range(200)])
    assert with_body > 0.75  # 0.41 of all places
    assert not draw_crop(Scan(image[:, :, 40:], None, (1, 1, 1), "", "", ""), (8, 8, 8), rng).any()


@pytest.mark.parametrize("size", [(8, 8), (8, 8, 12), (0, 8, 8), (8, 8, 8.0)])
def test_a_bad_size_is_named(size: tuple[int, ...]) -> None:
    with pytest.raises(SettingsError, match="crop is .*; it must be three positive multiples of 8"):
        check_size("crop", size)  # type: ignore[arg-type]
