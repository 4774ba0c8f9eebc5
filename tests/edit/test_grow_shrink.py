"""Margins in millimetres, against closed forms on voxels that are not cubes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_medssl.edit import Scope, edit, operations, slabs
from napari_medssl.edit.grow import Grow
from napari_medssl.edit.shrink import Shrink
from tests.edit.grids import THICK, boxed, label_map, radius_mm

SHAPE = (9, 25, 21)
masks = hnp.arrays(bool, st.tuples(st.integers(1, 5), st.integers(1, 8), st.integers(1, 8)))
margins = st.sampled_from([0.5, 1.0, 1.5, 2.0, 4.0, 5.0, 8.3])


def done(mask: np.ndarray, operation: Grow | Shrink) -> np.ndarray:
    labels = label_map(mask)
    return edit(labels, operation, scope=Scope(organs=(1,))).applied(labels.data) == 1


@pytest.mark.parametrize("mm", [1.0, 1.5, 3.99, 4.0, 7.3, 9.0])
def test_a_voxel_grows_to_a_ball(mm: float) -> None:
    distance = radius_mm(SHAPE)
    np.testing.assert_array_equal(done(distance == 0, Grow(mm)), distance <= mm)


@pytest.mark.parametrize("mm", [1.0, 1.8, 4.0, 4.2, 6.0])
def test_a_box_grows_by_its_distance(mm: float) -> None:
    sides = ((3, 6), (8, 15), (7, 12))
    gaps = [
        np.maximum(0, np.maximum(low - at, at - (high - 1))) * step
        for (low, high), step, at in zip(sides, THICK, np.indices(SHAPE), strict=True)
    ]
    distance = np.sqrt(sum(gap.astype(float) ** 2 for gap in gaps))
    np.testing.assert_array_equal(done(boxed(SHAPE, *sides), Grow(mm)), distance <= mm)


@pytest.mark.parametrize("mm", [0.5, 1.0, 1.5, 2.9, 3.0, 4.0, 8.1])
def test_a_box_shrinks_by_its_distance(mm: float) -> None:
    sides = ((1, 8), (2, 24), (2, 19))
    depths = [
        np.minimum(at - low + 1, high - at) * step
        for (low, high), step, at in zip(sides, THICK, np.indices(SHAPE), strict=True)
    ]
    box = boxed(SHAPE, *sides)
    np.testing.assert_array_equal(done(box, Shrink(mm)), box & (np.min(depths, axis=0) > mm))


def test_a_margin_below_the_slice_distance_stays_in_the_slice() -> None:
    grown = done(radius_mm(SHAPE) == 0, Grow(3.9))
    assert np.flatnonzero(grown.any(axis=(1, 2))).tolist() == [4]


def test_slice_by_slice_never_crosses() -> None:
    mask = radius_mm(SHAPE) <= 5
    grown, shrunk = done(mask, Grow(6, slice_by_slice=True)), done(mask, Shrink(2, slice_by_slice=True))
    assert not grown[~mask.any(axis=(1, 2))].any()
    for z in np.flatnonzero(mask.any(axis=(1, 2))):
        np.testing.assert_array_equal(grown[z], done(mask[z : z + 1], Grow(6))[0])
        np.testing.assert_array_equal(shrunk[z], done(mask[z : z + 1], Shrink(2))[0])


def test_the_border_of_the_scan_is_no_surface() -> None:
    assert done(np.ones(SHAPE, bool), Shrink(50)).all()
    cut = boxed(SHAPE, (0, 9), (0, 10), (0, 21))  # one face inside the scan
    np.testing.assert_array_equal(done(cut, Shrink(3)), boxed(SHAPE, (0, 9), (0, 7), (0, 21)))


@settings(max_examples=40, deadline=None)
@given(mask=masks, mm=margins)
def test_growing_then_shrinking_closes_and_the_reverse_opens(mask: np.ndarray, mm: float) -> None:
    if not mask.any():
        return
    closed = done(done(mask, Grow(mm)), Shrink(mm))
    assert (closed >= mask).all()
    np.testing.assert_array_equal(done(done(closed, Grow(mm)), Shrink(mm)), closed)
    opened = done(mask, Shrink(mm))
    if opened.any():
        assert (done(opened, Grow(mm)) <= mask).all()


@settings(max_examples=25, deadline=None)
@given(mask=masks, mm=margins)
def test_shrinking_is_growing_the_outside(mask: np.ndarray, mm: float) -> None:
    if mask.any() and not mask.all():
        np.testing.assert_array_equal(done(mask, Shrink(mm)), ~done(~mask, Grow(mm)))


@pytest.mark.parametrize("name", ["grow", "shrink", "smooth"])
def test_slabs_do_not_show(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mask = (radius_mm((24, 20, 20), (1, 1, 1)) <= 7) & ~(radius_mm((24, 20, 20), (1, 1, 1)) <= 2)
    labels = label_map(mask, (1, 1, 1))
    whole = edit(labels, operations[name]())
    monkeypatch.setattr(slabs, "_VOXELS", 1)
    np.testing.assert_array_equal(edit(labels, operations[name]()).index, whole.index)
    assert len(whole)


def test_what_two_organs_want_goes_to_the_nearer() -> None:
    data = np.zeros((1, 1, 12), np.uint8)
    data[0, 0, 1], data[0, 0, 10] = 1, 2
    labels = label_map(data, (1, 1, 1))
    grown = edit(labels, Grow(8)).applied(data)[0, 0]
    assert grown.tolist() == [1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2]
