"""What every operation must keep to, and the rules of who may change what."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_medssl.edit import Operation, Scope, describe, edit, edit_steps, name_of, operations
from napari_medssl.edit.combine import Combine
from napari_medssl.edit.grow import Grow
from napari_medssl.edit.grow_range import GrowRange
from napari_medssl.edit.keep_range import KeepRange
from napari_medssl.edit.largest import Largest
from napari_medssl.edit.shrink import Shrink
from napari_medssl.edit.smooth import Smooth
from napari_medssl.errors import GeometryError, SettingsError
from tests.edit.grids import boxed, label_map, radius_mm

SHAPE = (7, 18, 16)


def ready(name: str) -> Operation:
    """An operation with settings that do something."""
    if name in ("keep-range", "grow-range"):
        return operations[name](low=0.3, high=0.9)  # type: ignore[call-arg]
    return operations[name]()


@pytest.fixture(params=list(operations))
def operation(request: pytest.FixtureRequest) -> Operation:
    return ready(request.param)


def two_organs() -> np.ndarray:
    """Organ 1, with a hole, a speck and a missing slice, against organ 2."""
    data = np.zeros(SHAPE, np.uint8)
    data[1:6, 3:10, 3:12] = 1
    data[2, 5:7, 6:8] = 0
    data[3] = 0
    data[6, 0, 0] = 1
    data[1:6, 10:15, 3:12] = 2
    return data


def image() -> np.ndarray:
    return np.random.default_rng(5).random(SHAPE, np.float32)


def other_map() -> np.ndarray:
    return boxed(SHAPE, (2, 5), (6, 16), (6, 15)).astype(np.uint8)


def run(operation: Operation, data: np.ndarray, *organs: int, **scope: object) -> np.ndarray:
    labels = label_map(data)
    inputs = (image(), other_map())
    change = edit(labels, operation, scope=Scope(organs=organs, **scope), image=inputs[0], other=inputs[1])  # type: ignore[arg-type]
    return change.applied(data)


def test_a_change_is_applied_and_taken_back_exactly(operation: Operation) -> None:
    data = two_organs()
    labels = label_map(data)
    before = labels.data.copy()
    change = edit(labels, operation, scope=Scope(organs=(1,)), image=image(), other=other_map())
    assert len(change)
    np.testing.assert_array_equal(labels.data, before, err_msg="the map given is left alone")
    made = change.applied(before)
    assert np.count_nonzero(made != before) == len(change)
    np.testing.assert_array_equal(change.reverted(made), before)
    assert (np.diff(change.index) > 0).all()
    z, y, x = change.zyx()
    np.testing.assert_array_equal(made[z, y, x], change.after)
    facts = change.facts()["voxels"]
    assert facts[1]["added"] - facts[1]["removed"] == int((made == 1).sum()) - int((before == 1).sum())


def test_other_organs_are_not_overwritten_unless_asked(operation: Operation) -> None:
    data = two_organs()
    made = run(operation, data, 1)
    np.testing.assert_array_equal(made == 2, data == 2)
    free = run(operation, data, 1, overwrite=True)
    assert ((free == 2) <= (data == 2)).all(), "organ 2 is never added to"


def test_growing_overwrites_when_asked() -> None:
    data = two_organs()
    made = run(Grow(2.0), data, 1, overwrite=True)
    assert ((made == 1) & (data == 2)).any()


def test_organs_edited_together_never_take_from_each_other(operation: Operation) -> None:
    if operation.one_organ:
        return
    data = two_organs()
    for overwrite in (False, True):
        made = run(operation, data, 1, 2, overwrite=overwrite)
        alone = {organ: run(operation, data, organ) for organ in (1, 2)}
        for organ, rival in ((1, 2), (2, 1)):
            taken = (data == organ) & (made == rival)
            assert (alone[organ][taken] != organ).all(), "only what its own organ gives up"


def test_painted_slices_stay_as_painted_unless_asked(operation: Operation) -> None:
    data = two_organs()
    painted = np.zeros_like(data)
    painted[2][data[2] == 1] = 1
    painted[4][data[4] == 2] = 2
    for overwrite in (False, True):
        made = run(operation, data, 1, painted=painted, overwrite=overwrite)
        np.testing.assert_array_equal(made[2] == 1, data[2] == 1)
        np.testing.assert_array_equal(made[4] == 2, data[4] == 2)
    free = run(operation, data, 1, painted=painted, change_painted=True)
    np.testing.assert_array_equal(free, run(operation, data, 1))


def test_only_the_chosen_slices_change(operation: Operation) -> None:
    data = two_organs()
    made = run(operation, data, 1, slices=(2, 4))
    rest = [0, 1, 4, 5, 6]
    np.testing.assert_array_equal(made[rest], data[rest])


def test_a_single_slice_is_a_scan_of_its_own(operation: Operation) -> None:
    if operation.looks_beyond:
        return
    data = two_organs()
    alone = label_map(data[2:3])
    change = edit(alone, operation, scope=Scope(organs=(1,)), image=image()[2:3], other=other_map()[2:3])
    np.testing.assert_array_equal(run(operation, data, 1, slices=(2, 3))[2], change.applied(data[2:3])[0])


def test_an_organ_that_is_not_there(operation: Operation) -> None:
    data = two_organs()
    if isinstance(operation, Combine):
        assert (run(operation, data, 7) == 7).any(), "a union may begin a new organ"
        return
    with pytest.raises(SettingsError, match=f"organ 7 has no voxel in the label map; {name_of(operation)} needs some"):
        run(operation, data, 7)


def test_an_empty_map(operation: Operation) -> None:
    labels = label_map(np.zeros(SHAPE))
    with pytest.raises(SettingsError, match="the label map has no organ|works on one organ"):
        edit(labels, operation, image=image())


def test_an_organ_missing_where_asked_is_left_out_and_noted() -> None:
    data = two_organs()
    change = edit(label_map(data), Shrink(1), scope=Scope(organs=(1, 2), slices=(6, 7)))
    assert change.notes == ("organ 2 has no voxel on slice 6; shrink needs some",)
    assert change.applied(data)[6].sum() == 0
    with pytest.raises(SettingsError, match="organ 2 has no voxel on slice 6"):
        edit(label_map(data), Shrink(1), scope=Scope(organs=(2,), slices=(6, 7)))


def test_all_organs_are_worked_on_without_a_choice() -> None:
    change = edit(label_map(two_organs()), Largest())
    assert change.organs == (1, 2)


@pytest.mark.parametrize(
    ("operation", "sentence"),
    [
        (Grow(-1), "mm is -1; it must be at least 0.01"),
        (Smooth(float("nan")), "mm is nan; it must be"),
        (Smooth(999), "mm is 999; it must be at least 0.1 and at most 50"),
        (Largest(0), "pieces is 0; it must be at least 1"),
        (KeepRange(0, 0), r"low=0 high=0 is empty; give low below high; the middle 90 % of organ 1 has low=0.0"),
        (GrowRange(5, 2), "low=5 high=2 is empty; give low below high"),
        (Combine("unite"), "how is 'unite'; choose one of 'union', 'intersection', 'difference'"),  # type: ignore[arg-type]
    ],
)
def test_bad_parameters_say_what_to_do(operation: Operation, sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        edit(label_map(two_organs()), operation, scope=Scope(organs=(1,)), image=image())


def test_bad_surroundings_say_what_to_do() -> None:
    labels = label_map(two_organs())
    with pytest.raises(SettingsError, match="the slices 5:9 lie outside the label map, whose slices are 0:7"):
        edit(labels, Grow(), scope=Scope(slices=(5, 9)))
    with pytest.raises(SettingsError, match="no organ 300 in this label map; choose a label from 1 to 255"):
        edit(labels, Grow(), scope=Scope(organs=(300,)))
    with pytest.raises(SettingsError, match="keep-range looks at intensities; give the scan"):
        edit(labels, KeepRange(0, 1))
    with pytest.raises(GeometryError, match=r"the scan has shape \(2, 2, 2\), the label map \(7, 18, 16\)"):
        edit(labels, KeepRange(0, 1), image=np.zeros((2, 2, 2)))
    with pytest.raises(GeometryError, match="whole numbers, this one is float32"):
        edit(dataclasses.replace(labels, data=labels.data.astype(np.float32)), Grow())
    with pytest.raises(SettingsError, match="combine works on one organ; choose it"):
        edit(labels, Combine(labels=(2,)))
    with pytest.raises(SettingsError, match="no editing operation is called 'smoth'; did you mean 'smooth'"):
        operations["smoth"]


def test_operations_report_progress_and_can_be_left(operation: Operation) -> None:
    data = two_organs()
    labels = label_map(data)
    steps = edit_steps(labels, operation, scope=Scope(organs=(1,)), image=image(), other=other_map())
    reports = [next(steps), next(steps)]
    steps.close()
    assert all(0 <= report.fraction <= 1 and report.label for report in reports)
    np.testing.assert_array_equal(labels.data, data)


def test_operations_explain_themselves(operation: Operation) -> None:
    assert operation.title
    assert operation.hint.endswith(".")
    assert all(f.metadata["text"] for f in dataclasses.fields(operation))  # type: ignore[arg-type]
    assert describe(operation).startswith(name_of(operation))


def test_the_intensity_window_keeps_and_grows() -> None:
    data = boxed(SHAPE, (2, 5), (4, 8), (4, 8)).astype(np.uint8)
    scan = np.zeros(SHAPE, np.float32)
    scan[2:5, 4:8, 4:12] = 10  # the organ goes on to the right
    scan[2:5, 4:8, 13:15] = 10  # an island of the same brightness, not connected
    scan[3, 5, 5] = np.nan
    labels = label_map(data)
    kept = edit(labels, KeepRange(9, 10), image=scan).applied(data)
    assert kept.sum() == data.sum() - 1
    assert kept[3, 5, 5] == 0
    grown = edit(labels, GrowRange(9, 11, mm=200), image=scan).applied(data)
    np.testing.assert_array_equal(grown == 1, boxed(SHAPE, (2, 5), (4, 8), (4, 12)))
    near = edit(labels, GrowRange(9, 11, mm=3.0), image=scan).applied(data)
    np.testing.assert_array_equal(near == 1, boxed(SHAPE, (2, 5), (4, 8), (4, 10)), err_msg="two pixels of 1.5 mm")


def test_growing_into_a_window_goes_around_other_organs() -> None:
    data = np.zeros((1, 3, 9), np.uint8)
    data[0, 1, 0], data[0, :, 4] = 1, 2
    made = edit(label_map(data), GrowRange(0, 1, mm=200), scope=Scope(organs=(1,)), image=np.ones(data.shape))
    assert (made.applied(data)[0] == 1).any(axis=0).tolist() == [True] * 4 + [False] * 5


maps = hnp.arrays(np.uint8, (3, 5, 4), elements=st.integers(0, 3))


@settings(max_examples=40, deadline=None)
@given(data=maps, other=maps)
def test_combining_with_another_map_is_set_algebra(data: np.ndarray, other: np.ndarray) -> None:
    labels, a, b = label_map(data), data == 1, other == 2

    def combined(how: str, named: tuple[int, ...]) -> np.ndarray:
        scope = Scope(organs=(1,), overwrite=True)
        return edit(labels, Combine(how, named), scope=scope, other=other).applied(data) == 1  # type: ignore[arg-type]

    if not a.any() and not b.any():
        return
    np.testing.assert_array_equal(combined("union", (2,)), a | b)
    if a.any():
        np.testing.assert_array_equal(combined("union", ()), a | (other > 0))
        np.testing.assert_array_equal(combined("intersection", (2,)), a & b)
        np.testing.assert_array_equal(combined("difference", (2,)), a & ~b)
        assert a.sum() + b.sum() == combined("union", (2,)).sum() + combined("intersection", (2,)).sum()


def test_joining_a_named_organ_of_the_same_map() -> None:
    data = two_organs()
    data[0, 0, :5] = 3
    labels = label_map(data)
    made = edit(labels, Combine(labels=(2,)), scope=Scope(organs=(1,))).applied(data)
    np.testing.assert_array_equal(made == 1, (data == 1) | (data == 2))
    np.testing.assert_array_equal(made == 3, data == 3)
    with pytest.raises(SettingsError, match="labels of one map never overlap"):
        edit(labels, Combine("difference", (2,)), scope=Scope(organs=(1,)))
    with pytest.raises(SettingsError, match="name the labels to join to organ 1"):
        edit(labels, Combine(labels=(1,)), scope=Scope(organs=(1,)))


def test_large_labels_keep_their_type() -> None:
    data = two_organs().astype(np.uint16) * 300
    made = edit(dataclasses.replace(label_map(two_organs()), data=data, labels=()), Grow(1.5)).applied(data)
    assert made.dtype == np.uint16
    assert set(np.unique(made)) == {0, 300, 600}


def test_a_ball_in_patient_millimetres() -> None:
    labels = label_map(radius_mm(SHAPE) == 0)
    turned = dataclasses.replace(
        labels, affine=np.array([[0, 0, -1.5, 3], [0, -1, 0, 2], [4.0, 0, 0, 1], [0, 0, 0, 1]])
    )
    np.testing.assert_array_equal(edit(turned, Grow(6)).index, edit(labels, Grow(6)).index)
