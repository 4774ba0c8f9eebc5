"""The three-part support scheme and ranges in another scan."""

from __future__ import annotations

import math

import pytest

from napari_medssl.oneshot.parts import part_of, serving_slices, support_positions, support_slices, transfer_range


@pytest.mark.parametrize(
    ("n", "positions"), [(1, (0, 0, 0)), (2, (1, 1, 1)), (3, (0, 1, 2)), (6, (1, 3, 5)), (10, (1, 5, 8))]
)
def test_support_positions(n: int, positions: tuple[int, int, int]) -> None:
    assert support_positions(n) == positions


@pytest.mark.parametrize("n", range(3, 200))
def test_support_positions_are_the_published_formula_and_lie_in_their_parts(n: int) -> None:
    positions = support_positions(n)
    assert positions == tuple(math.floor((2 * p + 1) / 6 * n + 1e-9) for p in range(3))
    assert [part_of(k, n) for k in positions] == [0, 1, 2]


@pytest.mark.parametrize("n", range(1, 40))
def test_parts_are_ordered_and_nearly_equal(n: int) -> None:
    parts = [part_of(k, n) for k in range(n)]
    assert parts == sorted(parts)
    if n >= 3:
        sizes = [parts.count(p) for p in range(3)]
        assert max(sizes) - min(sizes) <= 1


def test_support_slices_are_taken_from_the_list_of_slices() -> None:
    assert support_slices([4, 5, 6, 8, 9, 20]) == (5, 8, 20)


def test_each_query_slice_is_served_by_its_part() -> None:
    assert serving_slices([30, 10, 20], (2, 8)) == {2: 10, 3: 10, 4: 20, 5: 20, 6: 30, 7: 30}
    assert set(serving_slices([7], (0, 5)).values()) == {7}
    assert serving_slices([1, 9], (0, 5)) == {0: 1, 1: 1, 2: 1, 3: 9, 4: 9}
    assert serving_slices([1, 5, 9], (3, 4)) == {3: 1}


def test_range_by_fraction_of_the_scan() -> None:
    assert transfer_range((10, 20), 40, 40) == (10, 20)
    assert transfer_range((10, 20), 40, 80) == (20, 40)
    assert transfer_range((39, 40), 40, 10) == (9, 10)
    assert transfer_range((3, 4), 40, 2) == (0, 1)


@pytest.mark.parametrize(("low", "high"), [(-1, 3), (5, 5), (3, 41)])
def test_a_range_outside_its_scan_is_refused(low: int, high: int) -> None:
    with pytest.raises(ValueError, match="no range"):
        transfer_range((low, high), 40, 40)


def test_impossible_requests_are_refused() -> None:
    with pytest.raises(ValueError, match="without slices"):
        support_positions(0)
    with pytest.raises(ValueError, match="not one of"):
        part_of(3, 3)
    with pytest.raises(ValueError, match="no labelled"):
        serving_slices([], (0, 3))
