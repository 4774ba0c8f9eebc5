"""From a coarse match to an outline."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from napari_medssl.oneshot import polish as module
from napari_medssl.oneshot.polish import polish_steps, sure_slices
from napari_medssl.oneshot.transfer import OrganRange
from napari_medssl.progress import Progress, Steps, finish
from napari_medssl.volume import Volume

SHAPE = (12, 20, 20)
WHOLE = OrganRange(0, 12, "all")
QUERY = Volume(np.random.default_rng(0).random(SHAPE, np.float32), np.eye(4))


def found(first: int = 2, stop: int = 11, value: float = 0.8) -> np.ndarray:
    out = np.full(SHAPE, 0.01, np.float32)
    out[first:stop, 5:15, 5:15] = value
    return out


class Carry:
    """Answers with a constant and keeps what it was given; carried one by one, all slices reach all others."""

    def __init__(self, value: float) -> None:
        self.value, self.anchors = value, dict[int, np.ndarray]()

    def __call__(self, anchors: Mapping[int, Mapping[int, np.ndarray]]) -> Steps[dict[int, np.ndarray]]:
        if list(anchors) != [1]:
            yield Progress(1, 1, "")
            return {name: np.ones(SHAPE, np.float16) for name in anchors}
        self.anchors = dict(anchors[1])
        yield Progress(1, 1, "")
        return {1: np.full(SHAPE, self.value, np.float16)}


def polish(given: np.ndarray, carry: Carry, span: OrganRange = WHOLE) -> np.ndarray:
    return finish(polish_steps(given, span, carry=carry, query=QUERY, limits=(0, 1)))


def test_the_sure_slices_lie_one_in_each_third() -> None:
    given = found()
    given[[3, 6, 9], 5:15, 5:15] = 0.99
    assert sure_slices(given, 3) == [3, 6, 9]


def test_a_large_slice_is_surer_than_a_small_one() -> None:
    given = found()
    given[4, 3:18, 3:18] = 0.8
    assert sure_slices(given, 3)[0] == 4


@pytest.mark.parametrize(("slices", "count"), [(1, 1), (2, 2), (3, 3), (9, 3)])
def test_no_more_seeds_than_slices(slices: int, count: int) -> None:
    seeds = sure_slices(found(2, 2 + slices), 3)
    assert len(set(seeds)) == count
    assert seeds == sorted(seeds)
    assert all(2 <= z < 2 + slices for z in seeds)


def test_nothing_found_gives_no_seeds_and_is_given_back() -> None:
    assert sure_slices(found(value=0.4), 3) == []
    faint, carry = found(value=0.4), Carry(1.0)
    np.testing.assert_array_equal(polish(faint, carry), faint)
    assert carry.anchors == {}


@pytest.fixture
def walker(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """A random walker that answers 0 everywhere, and the labelled slices it was given."""
    asked: list[list[int]] = []

    def walk(query: Volume, slices: Mapping[int, np.ndarray], carried: np.ndarray, **_: object) -> np.ndarray:
        asked.append(sorted(slices))
        return np.zeros(SHAPE, np.float16)

    monkeypatch.setattr(module, "diffuse_near", walk)
    return asked


def test_the_result_is_the_mean_of_match_carried_map_and_walker(walker: list[list[int]]) -> None:
    carry = Carry(0.2)
    result = polish(found(), carry)
    assert sorted(carry.anchors) == sure_slices(found(), 3)
    assert walker == [sorted(carry.anchors)]
    between = [z for z in range(2, 11) if z not in carry.anchors]
    np.testing.assert_allclose(result[between, 5:15, 5:15], (0.8 + 0.2 + 0) / 3, atol=1e-3)


@pytest.mark.usefixtures("walker")
def test_on_its_seeds_the_match_speaks_alone() -> None:
    carry = Carry(0.0)
    result = polish(found(), carry)
    for z, mask in carry.anchors.items():
        np.testing.assert_array_equal(mask, found()[z] >= 0.5)
        np.testing.assert_allclose(result[z], found()[z], atol=1e-6)


def test_seeds_are_cleaned_of_specks() -> None:
    given = found()
    given[:, 1:3, 1:3] = np.where(np.arange(12)[:, None, None] == 6, 0.99, 0.01)
    carry = Carry(0.0)
    polish(given, carry)
    assert carry.anchors
    assert not any(mask[1:3, 1:3].any() for mask in carry.anchors.values())


@pytest.mark.usefixtures("walker")
def test_outside_the_span_the_match_does_not_count() -> None:
    given = found()
    given[[0, 1, 11], 5:15, 5:15] = 0.7  # less sure than the rest, so no seeds
    result = polish(given, Carry(0.0), OrganRange(2, 11, "given"))
    assert result[[0, 1, 11]].max() == 0


@pytest.mark.usefixtures("walker")
@pytest.mark.parametrize("speck", [False, True])
def test_what_was_found_is_not_changed(speck: bool) -> None:
    given = found()
    given[[0, 1, 11], 5:15, 5:15] = 0.7
    if speck:
        given[6, 1:3, 1:3] = 0.99
    before = given.copy()
    result = polish(given, Carry(0.0), OrganRange(2, 11, "given"))
    np.testing.assert_array_equal(given, before)
    assert not np.shares_memory(result, given)


def test_three_honest_opinions_find_the_organ() -> None:
    truth = found() > 0.5
    image = Volume((0.2 + 0.5 * truth + 0.02 * QUERY.data).astype(np.float32), np.eye(4))
    rng = np.random.default_rng(0)
    match = np.clip(np.where(truth, 0.7, 0.2) + rng.normal(0, 0.1, SHAPE), 0, 1).astype(np.float32)
    steps = polish_steps(match, WHOLE, carry=Carry(0.5), query=image, limits=(0, 1))
    result = finish(steps) >= 0.5
    assert 2 * (result & truth).sum() / (result.sum() + truth.sum()) > 0.97


@pytest.mark.usefixtures("walker")
def test_seeds_are_chosen_anew_without_an_outlier() -> None:
    def carry(anchors: Mapping[int, Mapping[int, np.ndarray]]) -> Steps[dict[int, np.ndarray]]:
        yield Progress(1, 1, "")
        carried.append(sorted(anchors[1]) if list(anchors) == [1] else sorted(anchors))
        ways = {name: np.zeros(SHAPE, np.float16) for name in anchors}
        for name, slices in anchors.items():
            for z in slices:
                ways[name][2 : 8 if z < 8 else 11] = 0.9
                ways[name][: 8 if z >= 8 else 0] = 0
        return ways

    carried: list[list[int]] = []
    result = finish(polish_steps(found(), WHOLE, carry=carry, query=QUERY, limits=(0, 1)))
    assert max(carried[0]) >= 8  # slices 8 to 10 are another organ
    assert all(2 <= z < 8 for z in carried[1])
    assert len(carried[1]) == 3
    assert (result[2:8, 7:13, 7:13] > 0.5).all()
    assert not (result[8:] >= 0.5).any()
