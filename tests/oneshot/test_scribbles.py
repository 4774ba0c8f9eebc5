"""Corrections of a result: never overruled, local, and the same however they are given."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_medssl.errors import SupportError
from napari_medssl.labels import default_label
from napari_medssl.oneshot.result import Segmentation
from napari_medssl.oneshot.scribbles import correct
from napari_medssl.oneshot.segmenter import segment_volume
from napari_medssl.oneshot.stroke import Stroke, painted
from napari_medssl.oneshot.support import Support
from napari_medssl.progress import finish
from napari_medssl.volume import Volume

Scans = Callable[..., tuple[Volume, np.ndarray]]
SHAPE = (6, 16, 16)


def _scan() -> Volume:
    image = np.random.default_rng(3).normal(100, 5, SHAPE).astype(np.float32)
    image[:, 4:12, 4:12] += 80
    return Volume(image, np.diag([1.5, 1.5, 4.0, 1.0])[:, [2, 1, 0, 3]], "MR")


def _result(scan: Volume) -> Segmentation:
    maps = {1: np.zeros(SHAPE, np.float16), 2: np.zeros(SHAPE, np.float16)}
    maps[1][1:5, 4:12, 4:8], maps[2][1:5, 4:12, 8:12] = 0.9, 0.8
    labels = np.where(maps[1] > 0.5, 1, np.where(maps[2] > 0.5, 2, 0)).astype(np.uint8)
    return Segmentation(scan.like(labels, (default_label(1), default_label(2))), maps, {})


def _stroke(z: int, y: slice, x: slice, value: int) -> Stroke:
    where = np.zeros(SHAPE, bool)
    where[z, y, x] = True
    at = np.argwhere(where)
    return Stroke(at, np.full(len(at), value))


_ONE = st.tuples(st.integers(0, 5), st.integers(0, 15), st.integers(0, 15), st.integers(0, 3))
_STROKES = st.lists(st.lists(_ONE, min_size=1, max_size=12, unique_by=lambda v: v[:3]), min_size=1, max_size=4)


def _as_strokes(lists: list[list[tuple[int, int, int, int]]]) -> list[Stroke]:
    return [Stroke(np.array([v[:3] for v in voxels]), np.array([v[3] for v in voxels])) for voxels in lists]


def _wanted(strokes: list[Stroke]) -> dict[tuple[int, ...], int]:
    """Voxel to what was painted there last."""
    return {tuple(at): v for s in strokes for at, v in zip(s.at.tolist(), s.values.tolist(), strict=True)}


@given(lists=_STROKES)
@settings(max_examples=20, deadline=None)
def test_a_correction_is_never_overruled(lists: list[list[tuple[int, int, int, int]]]) -> None:
    scan, strokes = _scan(), _as_strokes(lists)
    found = correct(scan, _result(scan), strokes)
    for at, value in _wanted(strokes).items():
        assert found.labels.data[at] == value
        assert all(found.probability[o][at] == (o == value) for o in found.probability)


@given(lists=_STROKES)
@settings(max_examples=8, deadline=None)
def test_one_at_a_time_or_all_at_once_is_the_same(lists: list[list[tuple[int, int, int, int]]]) -> None:
    scan, strokes = _scan(), _as_strokes(lists)
    together = correct(scan, _result(scan), strokes)
    alone = _result(scan)
    for stroke in strokes:
        alone = correct(scan, alone, [stroke])
    np.testing.assert_array_equal(together.labels.data, alone.labels.data)
    for organ in together.probability:
        np.testing.assert_array_equal(together.probability[organ], alone.probability[organ])
    assert len(alone.strokes) == len(strokes)


@given(lists=_STROKES)
@settings(max_examples=8, deadline=None)
def test_a_labelled_slice_changes_only_where_it_was_painted_on(lists: list[list[tuple[int, int, int, int]]]) -> None:
    scan, strokes = _scan(), _as_strokes(lists)
    before = _result(scan)
    mask = np.zeros(SHAPE, np.uint8)
    mask[3] = before.labels.data[3]
    after = correct(scan, before, strokes, supports=[Support(scan, mask)])
    rest = np.ones(SHAPE, bool)
    for at in _wanted(strokes):
        rest[at] = False
    organs = (before.labels.data[3] > 0) & rest[3]
    np.testing.assert_array_equal(after.labels.data[3][organs], before.labels.data[3][organs])


def test_a_small_stroke_adds_the_region_it_lies_in_and_says_nothing_of_the_rest() -> None:
    scan, result = _scan(), _result(_scan())
    result.probability[1][5:], result.labels.data[5:] = 0, 0  # empty where the bright block goes on
    found = correct(scan, result, [_stroke(5, slice(7, 9), slice(5, 7), 1)])
    assert (found.labels.data[5, 4:12, 4:8] == 1).mean() > 0.9
    assert (found.labels.data[5, :, 13:] == 0).all()
    np.testing.assert_array_equal(found.labels.data[1], result.labels.data[1])


def test_wiping_takes_a_false_region_away_in_the_next_slices_too() -> None:
    scan, result = _scan(), _result(_scan())
    result.probability[2][1:5, 13:16, 2:8] = 0.7
    result.labels.data[1:5, 13:16, 2:8] = 2
    found = correct(scan, result, [_stroke(2, slice(14, 15), slice(3, 7), 0)])
    assert not (found.labels.data[1:4, 13:16, 2:8] == 2).any()
    assert (found.labels.data[2, 4:12, 4:12] == result.labels.data[2, 4:12, 4:12]).all()


def test_the_result_given_is_left_alone_and_untouched_maps_are_shared() -> None:
    scan, result = _scan(), _result(_scan())
    before = result.labels.data.copy(), result.probability[2].copy()
    found = correct(scan, result, [_stroke(2, slice(0, 2), slice(0, 2), 1)])
    np.testing.assert_array_equal(result.labels.data, before[0])
    np.testing.assert_array_equal(result.probability[2], before[1])
    assert found.probability[2] is result.probability[2]  # nothing of it was near
    assert found.report["corrections"] == {"strokes": 1, "voxels": 4}


def test_an_organ_only_strokes_know_is_added() -> None:
    scan = _scan()
    found = correct(scan, _result(scan), [_stroke(2, slice(0, 2), slice(0, 2), 300)])
    assert found.labels.data[2, 0, 0] == 300
    assert [label.value for label in found.labels.labels] == [1, 2, 300]


def test_strokes_outside_the_range_asked_for_hold_and_do_not_spread() -> None:
    scan, result = _scan(), _result(_scan())
    result.report["slice_range"] = [2, 4]
    far = correct(scan, result, [_stroke(5, slice(7, 9), slice(5, 7), 1)])
    assert (far.labels.data != result.labels.data).sum() == 4


def test_a_stroke_of_another_scan_is_refused() -> None:
    scan = _scan()
    with pytest.raises(SupportError, match=r"voxel \(9, 0, 0\)"):
        correct(scan, _result(scan), [Stroke(np.array([[9, 0, 0]]), np.array([1]))])
    with pytest.raises(SupportError, match=r"\(N, 3\)"):
        Stroke(np.zeros((2, 2)), np.zeros(2))
    with pytest.raises(SupportError, match="negative"):
        Stroke(np.array([[0, -1, 0]]), np.array([1]))


def test_painted_is_what_differs() -> None:
    before = np.zeros((2, 3, 3), np.uint8)
    after = before.copy()
    after[1, 2, 0] = 4
    stroke = painted(before, after)
    assert stroke is not None
    assert stroke.at.tolist() == [[1, 2, 0]]
    assert stroke.values.tolist() == [4]
    assert painted(before, before) is None


def _support(scan: Volume, labels: np.ndarray, z: int, **said: object) -> Support:
    mask = np.zeros_like(labels)
    mask[z] = labels[z]
    return Support(scan, mask, **said)  # type: ignore[arg-type]


def test_a_run_keeps_strokes_and_leaves_an_organ_where_it_is_not(two_organs: Scans, models: object) -> None:
    scan, labels = two_organs()
    stroke = Stroke(np.array([[5, 3, 3], [5, 36, 44], [9, 26, 20]]), np.array([1, 0, 2]))
    said = _support(scan, labels, 6, strokes=(stroke,), absent={1: (9,), 2: (4,)})
    found = finish(segment_volume(scan, [said], models=models))  # type: ignore[arg-type]
    assert found.labels.data[stroke.index].tolist() == [1, 0, 2]
    assert not (found.labels.data[9:] == 1).any()  # it ends before slice 9, on the side away from the labels
    assert not (found.labels.data[:4] == 2).any()
    assert (found.labels.data[10] == 2).any()
    assert found.report["absent"] == {"1": [9], "2": [4]}
    assert len(found.strokes) == 1


def test_an_absence_between_labelled_slices_empties_that_slice_alone(two_organs: Scans, models: object) -> None:
    scan, labels = two_organs()
    mask = np.zeros_like(labels)
    mask[4], mask[8] = labels[4], labels[8]
    said = Support(scan, mask, absent={1: (6,)})
    found = finish(segment_volume(scan, [said], models=models)).labels.data  # type: ignore[arg-type]
    assert not (found[6] == 1).any()
    assert (found[5] == 1).any()
    assert (found[7] == 1).any()


def test_corrections_alone_are_no_example(two_organs: Scans, models: object) -> None:
    scan, labels = two_organs()
    said = Support(scan, np.zeros_like(labels), absent={1: (0,)})
    with pytest.raises(SupportError, match="label an organ on at least one slice"):
        finish(segment_volume(scan, [said], models=models))  # type: ignore[arg-type]
    with pytest.raises(SupportError, match="absent on slice 99"):
        Support(scan, labels, absent={1: (99,)})


def test_corrections_of_a_result_from_another_scan(two_organs: Scans, models: object) -> None:
    """The example is another patient's; on this scan there are corrections only."""
    scan, labels = two_organs(seed=1)
    other, its = two_organs(seed=2)
    here = Support(
        scan, np.zeros_like(labels), strokes=(Stroke(np.array([[7, 2, 2]]), np.array([2])),), absent={1: (8,)}
    )
    found = finish(segment_volume(scan, [_support(other, its, 6), here], models=models))  # type: ignore[arg-type]
    assert found.labels.data[7, 2, 2] == 2
    assert not (found.labels.data[8] == 1).any()
    assert (found.labels.data == 1).any()
