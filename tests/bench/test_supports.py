"""Which slices are labelled."""

import numpy as np
import pytest

from napari_medssl.bench.supports import choice_generator, even_slices, first_slices, mask_of, slices_with


def organ(areas):
    found = np.zeros((len(areas), 1, 50), bool)
    for z, area in enumerate(areas):
        found[z, 0, :area] = True
    return found


def test_middles_of_equal_parts():
    there = organ([0] * 3 + [9] * 10)
    assert even_slices(there, 3) == [5, 8, 11]
    assert even_slices(there, 1) == [8]
    assert even_slices(organ([0, 5, 5]), 3) == [1, 2], "an organ of two slices has no third part"


@pytest.mark.parametrize(("first", "count", "expected"), [(7, 1, [7]), (7, 2, [5, 7]), (12, 3, [4, 7, 12])])
def test_the_first_slice_stands_for_its_part(first, count, expected):
    there = organ([0] * 3 + [9] * 9 + [9])
    assert slices_with(there, first, count)[:count] == sorted(slices_with(there, first, count))
    assert first in slices_with(there, first, count)
    assert len(slices_with(there, first, count)) == count
    parts = np.array_split(np.arange(3, 13), count)
    assert all(sum(z in part for z in slices_with(there, first, count)) == 1 for part in parts)


def test_choices_begin_with_the_largest_and_show_enough():
    there = organ([0, 4, 19, 40, 20, 30, 21, 3])
    for seed in range(5):
        chosen = first_slices(there, 10, np.random.default_rng(seed))
        assert chosen[0] == 3
        assert sorted(chosen[1:]) == [4, 5, 6], "at least half of 40"
    assert len(first_slices(there, 2, np.random.default_rng(0))) == 2
    second = {first_slices(there, 2, choice_generator(seed, "scan", 1))[1] for seed in range(20)}
    assert second == {4, 5, 6}
    assert choice_generator(0, "a", 1).random() == choice_generator(0, "a", 1).random()
    assert choice_generator(0, "a", 1).random() != choice_generator(0, "b", 1).random()


def test_mask_holds_the_labelled_slices_alone():
    there = organ([3, 5, 7, 5])
    mask = mask_of(there, [1, 3])
    assert mask.dtype == np.uint8
    assert mask.sum(axis=(1, 2)).tolist() == [0, 5, 0, 5]
