"""Sorting the supports of a scan."""

from __future__ import annotations

import numpy as np
import pytest

from napari_medssl.errors import SupportError
from napari_medssl.labels import Label
from napari_medssl.oneshot.anchors import anchors_of, organs_of, split_supports, within_range
from napari_medssl.oneshot.support import Support
from napari_medssl.volume import Volume


def support(volume: Volume, marks: dict[int, tuple[slice, slice, int]], *labels: Label) -> Support:
    """A support with one rectangle (rows, columns, organ) per slice."""
    mask = np.zeros(volume.shape, np.uint8)
    for z, (ys, xs, organ) in marks.items():
        mask[z, ys, xs] = organ
    return Support(volume, mask, labels)


LEFT, RIGHT = (slice(2, 6), slice(0, 4)), (slice(4, 9), slice(3, 8))


def test_the_same_scan_read_twice_counts_as_itself(tiny_volume: Volume) -> None:
    again = Volume(tiny_volume.data.copy(), tiny_volume.affine.copy())
    other = Volume(tiny_volume.data + 1, tiny_volume.affine)
    supports = [support(v, {1: (*LEFT, 1)}) for v in (again, other, tiny_volume)]
    here, elsewhere = split_supports(tiny_volume, supports)
    assert [s is e for s, e in zip(here, (supports[0], supports[2]), strict=True)] == [True, True]
    assert len(elsewhere) == 1
    assert elsewhere[0] is supports[1]


def test_a_shifted_scan_is_another_scan(tiny_volume: Volume) -> None:
    moved = tiny_volume.affine.copy()
    moved[2, 3] += 5
    here, elsewhere = split_supports(tiny_volume, [support(Volume(tiny_volume.data, moved), {1: (*LEFT, 1)})])
    assert (len(here), len(elsewhere)) == (0, 1)


def test_no_support_is_told(tiny_volume: Volume) -> None:
    with pytest.raises(SupportError, match="no labelled example was given"):
        split_supports(tiny_volume, [])


def test_organs_are_sorted_and_the_first_name_wins(tiny_volume: Volume) -> None:
    liver, hepar, spleen = Label(2, "liver", (1, 1, 1)), Label(2, "hepar", (2, 2, 2)), Label(1, "spleen", (3, 3, 3))
    first = support(tiny_volume, {1: (*LEFT, 2)}, liver)
    second = support(tiny_volume, {1: (*LEFT, 2), 3: (*LEFT, 1)}, hepar, spleen)
    assert organs_of([first, second]) == (spleen, liver)


def test_masks_of_one_organ_on_one_slice_are_united(tiny_volume: Volume) -> None:
    found = anchors_of([support(tiny_volume, {2: (*LEFT, 1)}), support(tiny_volume, {2: (*RIGHT, 1), 4: (*LEFT, 1)})])
    expected = np.zeros((10, 12), bool)
    expected[LEFT] = expected[RIGHT] = True
    assert sorted(found[1]) == [2, 4]
    np.testing.assert_array_equal(found[1][2], expected)
    assert found[1][2].dtype == bool


def test_a_slice_is_labelled_only_for_the_organs_painted_on_it(tiny_volume: Volume) -> None:
    found = anchors_of([support(tiny_volume, {1: (*LEFT, 1), 3: (*RIGHT, 2)})])
    assert {organ: sorted(slices) for organ, slices in found.items()} == {1: [1], 2: [3]}


@pytest.mark.parametrize(
    ("slice_range", "kept"),
    [
        (None, {1: [1, 4], 2: [5]}),
        ((0, 5), {1: [1, 4], 2: [5]}),
        ((2, 6), {1: [4], 2: [5]}),
        ((4, 5), {1: [4], 2: [5]}),
    ],
)
def test_an_organ_keeps_its_slices_in_the_range_or_else_all(
    tiny_volume: Volume, slice_range: tuple[int, int] | None, kept: dict[int, list[int]]
) -> None:
    anchors = anchors_of([support(tiny_volume, {1: (*LEFT, 1), 4: (*LEFT, 1), 5: (*RIGHT, 2)})])
    found = within_range(anchors, slice_range)
    assert {organ: sorted(slices) for organ, slices in found.items()} == kept
    found[1].clear()
    assert anchors[1]  # the caller's own is not changed
