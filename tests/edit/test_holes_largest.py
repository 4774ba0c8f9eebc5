"""Holes filled and specks taken away."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from napari_medssl.edit import Operation, Scope, edit
from napari_medssl.edit.fill_holes import FillHoles, enclosed
from napari_medssl.edit.largest import Largest
from tests.edit.grids import boxed, label_map, radius_mm

masks = hnp.arrays(bool, st.tuples(st.integers(1, 4), st.integers(1, 8), st.integers(1, 8)), fill=st.just(True))
SHAPE = (7, 20, 20)


def done(mask: np.ndarray, operation: Operation) -> np.ndarray:
    labels = label_map(mask)
    return edit(labels, operation, scope=Scope(organs=(1,))).applied(labels.data) == 1


@settings(max_examples=60, deadline=None)
@given(mask=masks)
def test_holes_are_those_of_scipy(mask: np.ndarray) -> None:
    np.testing.assert_array_equal(mask | enclosed(mask), ndimage.binary_fill_holes(mask))
    for plane in mask:
        np.testing.assert_array_equal(plane | enclosed(plane), ndimage.binary_fill_holes(plane))


@settings(max_examples=40, deadline=None)
@given(mask=masks, widest=st.sampled_from([0.0, 2.0, 3.5]), flat=st.booleans())
def test_filling_twice_is_filling_once(mask: np.ndarray, widest: float, flat: bool) -> None:
    if mask.any():
        operation = FillHoles(widest, flat)
        once = done(mask, operation)
        assert (once >= mask).all()
        np.testing.assert_array_equal(done(once, operation), once)


@settings(max_examples=40, deadline=None)
@given(mask=masks, count=st.integers(1, 3), flat=st.booleans())
def test_keeping_the_largest_twice_is_keeping_it_once(mask: np.ndarray, count: int, flat: bool) -> None:
    if mask.any():
        operation = Largest(count, slice_by_slice=flat)
        once = done(mask, operation)
        assert (once <= mask).all()
        np.testing.assert_array_equal(done(once, operation), once)


def test_a_tunnel_is_a_hole_in_each_slice_but_no_cavity() -> None:
    tube = boxed(SHAPE, (0, 7), (4, 16), (4, 16)) & ~boxed(SHAPE, (0, 7), (8, 11), (8, 11))
    np.testing.assert_array_equal(done(tube, FillHoles()), boxed(SHAPE, (0, 7), (4, 16), (4, 16)))
    np.testing.assert_array_equal(done(tube, FillHoles(slice_by_slice=False)), tube)
    cavity = boxed(SHAPE, (1, 6), (4, 16), (4, 16)) & ~boxed(SHAPE, (3, 4), (8, 11), (8, 11))
    filled = done(cavity, FillHoles(slice_by_slice=False))
    np.testing.assert_array_equal(filled, boxed(SHAPE, (1, 6), (4, 16), (4, 16)))


def test_holes_wider_than_asked_stay() -> None:
    mask = boxed(SHAPE, (3, 4), (2, 18), (2, 18))
    small, large = boxed(SHAPE, (3, 4), (4, 6), (4, 6)), boxed(SHAPE, (3, 4), (9, 15), (9, 15))
    # 2 x 2 voxels of 1 x 1.5 mm: the circle of 6 mm² has 2.76 mm
    assert not (done(mask & ~small & ~large, FillHoles(2.7)) & (small | large)).any()
    np.testing.assert_array_equal(done(mask & ~small & ~large, FillHoles(2.8)), mask & ~large)
    np.testing.assert_array_equal(done(mask & ~small & ~large, FillHoles(0)), mask)


def test_the_largest_pieces_stay() -> None:
    ball = radius_mm(SHAPE) <= 5
    speck, pair = boxed(SHAPE, (0, 1), (0, 1), (0, 1)), boxed(SHAPE, (0, 1), (18, 20), (0, 1))
    mask = ball | speck | pair
    np.testing.assert_array_equal(done(mask, Largest()), ball)
    np.testing.assert_array_equal(done(mask, Largest(2)), ball | pair)
    np.testing.assert_array_equal(done(mask, Largest(9)), mask)
    np.testing.assert_array_equal(done(mask, Largest(1, at_least_ml=0.012)), ball | pair)  # two voxels of 6 mm³
    np.testing.assert_array_equal(done(mask, Largest(1, at_least_ml=0.0121)), ball)


def test_touching_corners_are_one_piece() -> None:
    steps = np.zeros((3, 4, 4), bool)
    steps[0, 0, 0] = steps[1, 1, 1] = steps[2, 2, 2] = True
    np.testing.assert_array_equal(done(steps, Largest()), steps)
    assert done(steps, Largest(slice_by_slice=True)).sum() == 3


def test_of_equal_pieces_the_first_stays() -> None:
    mask = boxed(SHAPE, (1, 2), (0, 2), (0, 2)) | boxed(SHAPE, (5, 6), (0, 2), (0, 2))
    np.testing.assert_array_equal(done(mask, Largest()), boxed(SHAPE, (1, 2), (0, 2), (0, 2)))


@pytest.mark.parametrize("inside", [False, True])
def test_a_hole_with_another_organ_is_filled_around_it(inside: bool) -> None:
    data = boxed(SHAPE, (2, 5), (2, 18), (2, 18)).astype(np.uint8)
    data[3, 6:12, 6:12] = 0
    data[3, 8:10, 8:10] = 2
    labels = label_map(data)
    filled = edit(labels, FillHoles(), scope=Scope(organs=(1,), overwrite=inside)).applied(data)
    assert (filled[3, 6:12, 6:12] == 2).sum() == (0 if inside else 4)
    assert (filled[3, 2:18, 2:18] != 0).all()
