"""What is said of slices, and what of it contradicts itself."""

from __future__ import annotations

import numpy as np
import pytest

from napari_medssl.classify.slices import SliceMarks, one_class, several_classes
from napari_medssl.errors import SupportError


def test_several_classes_are_known_to_be_there_or_not() -> None:
    marks = several_classes(["a", "b"], {"scan": {5: ["b"], 2: []}})
    places, targets = marks.targets("scan")
    assert places.tolist() == [2, 5]
    assert targets.tolist() == [[0, 0], [0, 1]]
    assert marks.targets("another scan")[1].shape == (0, 2)
    assert marks.count == 2


def test_one_class_excludes_the_others() -> None:
    _, targets = one_class(["a", "b", "c"], {"scan": {0: "c"}}).targets("scan")
    assert targets.tolist() == [[0, 0, 1]]


def test_what_is_not_said_is_unknown() -> None:
    marks = SliceMarks(("a", "b"), "several", {"scan": {0: {"a": True}}})
    np.testing.assert_array_equal(marks.targets("scan")[1], [[1, np.nan]])


def test_an_exam_shows_what_one_of_its_slices_shows() -> None:
    marks = SliceMarks(("a", "b", "c"), "several", {"scan": {0: {"a": True}, 1: {"b": False}}}, {"scan": {"c": False}})
    np.testing.assert_array_equal(marks.exam_target("scan"), [1, np.nan, 0])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: several_classes([], {}), "name at least one"),
        (lambda: several_classes(["a", "a"], {}), "two classes are called 'a'"),
        (lambda: one_class(["a"], {"scan": {3: "b"}}), "slice 3 of scan is marked as 'b'"),
        (lambda: several_classes(["a"], {"scan": {-1: []}}), "no slice -1"),
        (lambda: SliceMarks(("a", "b"), "one", {"s": {1: {"a": True, "b": True}}}), "exactly one class"),
    ],
)
def test_refused(make: object, words: str) -> None:
    with pytest.raises(SupportError, match=words):
        make()  # type: ignore[operator]
