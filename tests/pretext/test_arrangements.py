"""Arrangement sets: distances, sizes, draws without replacement."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from napari_medssl.errors import SettingsError
from napari_medssl.pretext.arrangements import (
    Arrangements,
    all_arrangements,
    hamming,
    inverse,
    least_hamming,
    max_hamming_set,
    setarr,
    spread_arrangements,
    uniform_arrangements,
)


def greedy_by_the_letter(cells: int) -> list[tuple[int, ...]]:
    """Algorithm 3.1 as a plain loop over all kept members."""
    kept = [tuple(range(cells))]
    for order in itertools.permutations(range(cells)):
        if all(sum(a != b for a, b in zip(order, k, strict=True)) > cells // 2 for k in kept):
            kept.append(order)
    return kept


def are_orders(arrangements: Arrangements) -> bool:
    return bool((np.sort(arrangements, axis=1) == np.arange(arrangements.shape[1])).all())


def test_the_thesis_example_differs_everywhere() -> None:
    assert hamming(list("123456789"), list("462731958")) == 9  # E-01
    assert hamming([0, 1, 2], [0, 1, 2]) == 0


def test_all_orders_come_in_lexicographic_sequence() -> None:
    assert [tuple(row) for row in all_arrangements(5)] == list(itertools.permutations(range(5)))
    assert len(all_arrangements(9)) == 362_880
    with pytest.raises(ValueError, match="10 cells cannot be listed"):
        all_arrangements(10)


@pytest.mark.parametrize("cells", [3, 4, 6])
def test_striking_out_neighbours_equals_comparing_with_all(cells: int) -> None:
    assert [tuple(row) for row in spread_arrangements(cells)] == greedy_by_the_letter(cells)


def test_nine_patches_have_1887_spread_arrangements() -> None:
    members = spread_arrangements(9)
    assert len(members) == 1887  # E-02
    assert least_hamming(members) == 5
    assert are_orders(members)
    assert members[0].tolist() == list(range(9))
    covered = all_arrangements(9)[::997]  # maximal: nothing could be added
    assert all((members != row).sum(1).min() <= 4 for row in covered)


def test_drawing_with_replacement_would_lose_classes() -> None:
    rng = np.random.default_rng(0)
    distinct = [np.mean([len(np.unique(rng.integers(1887, size=n))) for _ in range(100)]) for n in (500, 1000)]
    assert distinct == pytest.approx([439, 776], abs=3)  # E-03, why the draw is without (B3-04)


@pytest.mark.parametrize("count", [1, 500, 1000, 1887])
def test_setarr_draws_every_class_once(count: int) -> None:
    chosen = setarr(count, np.random.default_rng(3))
    assert len(np.unique(chosen, axis=0)) == count == len(chosen)
    assert hamming(chosen[0], np.arange(9)) == 0
    assert least_hamming(chosen) >= 5
    np.testing.assert_array_equal(chosen, setarr(count, np.random.default_rng(3)))


def test_the_uniform_set_starts_with_the_identity() -> None:
    chosen = uniform_arrangements(1000, np.random.default_rng(0))
    assert len(np.unique(chosen, axis=0)) == 1000
    assert are_orders(chosen)
    assert chosen[0].tolist() == list(range(9))
    # Each value is as often in each place as in any other, within chance.
    counts = np.stack([np.bincount(chosen[:, k], minlength=9) for k in range(9)])
    assert np.abs(counts - 1000 / 9).max() < 50
    assert least_hamming(chosen) < 5  # no distance rule


def test_too_many_classes_are_refused() -> None:
    with pytest.raises(SettingsError, match="1888 classes .* 1 to 1887 arrangements of 9 patches .* 4 places"):
        setarr(1888, np.random.default_rng(0))
    with pytest.raises(SettingsError, match="25 classes .* 1 to 24 orders"):
        uniform_arrangements(25, np.random.default_rng(0), cells=4)
    with pytest.raises(SettingsError, match="7 classes .* 3 cells have 1 to 6"):
        max_hamming_set(3, 7, np.random.default_rng(0))


@pytest.mark.parametrize(("cells", "count", "least"), [(8, 100, 5), (4, 4, 4), (27, 50, 24), (9, 9, 8)])
def test_far_sets_are_far_for_any_number_of_cells(cells: int, count: int, least: int) -> None:
    chosen = max_hamming_set(cells, count, np.random.default_rng(1))
    assert chosen.shape == (count, cells)
    assert are_orders(chosen)
    assert least_hamming(chosen) >= least
    np.testing.assert_array_equal(chosen, max_hamming_set(cells, count, np.random.default_rng(1)))


def test_the_inverse_puts_patches_back() -> None:
    rng = np.random.default_rng(0)
    patches = rng.random((9, 2))
    for arrangement in setarr(20, rng):
        np.testing.assert_array_equal(patches[arrangement][inverse(arrangement)], patches)
