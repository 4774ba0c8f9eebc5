"""Taking out what does not find back to the labelled slice."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_medssl.oneshot.propagation import PropagationSettings
from napari_medssl.oneshot.settings import SegmentSettings
from napari_medssl.oneshot.way_back import Carry, is_stranger, take_out_strangers_steps
from napari_medssl.oneshot.within_scan import Walk, within_scan_steps
from napari_medssl.progress import Progress, Steps, finish
from napari_medssl.volume import Volume
from tests.oneshot.conftest import MadeModels
from tests.oneshot.test_propagation import Made

SHAPE = (20, 60, 80)
LABELLED = 8
MM = (3.0, 1.2, 1.2)


def disc(centre: tuple[int, int], radius: float) -> np.ndarray:
    ys, xs = np.ogrid[: SHAPE[1], : SHAPE[2]]
    return np.asarray((ys - centre[0]) ** 2 + (xs - centre[1]) ** 2 <= radius**2)


ORGAN, NEIGHBOUR = disc((30, 20), 11), disc((30, 43), 11)


def organ() -> np.ndarray:
    """The organ on slices 4 to 12."""
    found = np.zeros(SHAPE, np.float16)
    found[4:13, ORGAN] = 0.8
    return found


def slid() -> np.ndarray:
    """The organ, and from slice 11 to 17 its neighbour."""
    found = organ()
    found[11:18, NEIGHBOUR] = 0.7
    return found


def guide(parts: Mapping[int, Mapping[int, np.ndarray]], slices: tuple[int, int]) -> Steps[dict[int, np.ndarray]]:
    """Carries the organ through the organ and the neighbour through the neighbour, whichever the part is more of."""
    yield Progress(0, 1, "carrying")
    ways = {}
    for name, part in parts.items():
        ((z, mask),) = part.items()
        ways[name] = np.zeros(SHAPE, np.float16)
        if (mask & NEIGHBOUR).sum() > (mask & ORGAN).sum():
            ways[name][11:18, NEIGHBOUR] = 0.9
        else:
            ways[name][4:19, ORGAN] = 0.9
        ways[name][z] = mask
        ways[name][: slices[0]] = 0
        ways[name][slices[1] :] = 0
    return ways


def noting(asked: list[int]) -> Carry:
    """`guide`, which notes in `asked` the slices it was given parts of."""

    def carry(parts: Mapping[int, Mapping[int, np.ndarray]], slices: tuple[int, int]) -> Steps[dict[int, np.ndarray]]:
        asked.extend(parts)
        return (yield from guide(parts, slices))

    return carry


def taken_out(
    found: np.ndarray,
    labels: Mapping[int, np.ndarray],
    *,
    carry: Carry = guide,
    mm: tuple[float, float, float] = MM,
    threshold: float = 0.5,
    recognised: np.ndarray | None = None,
) -> np.ndarray:
    """`found` without strangers."""
    steps = take_out_strangers_steps(
        {1: found},
        {1: labels},
        carry,
        spacing_mm=mm,
        share=0.5,
        threshold=threshold,
        recognised={} if recognised is None else {1: recognised},
    )
    finish(steps)
    return found


def test_the_neighbour_goes_and_the_organ_stays() -> None:
    found = taken_out(slid(), {LABELLED: ORGAN})
    np.testing.assert_array_equal(found >= 0.5, organ() >= 0.5)
    assert 0 < found[16].max() < 0.1  # what is left tells that something was there


@pytest.mark.parametrize("threshold", [0.02, 0.5, 0.9])
def test_what_is_taken_out_is_out_whatever_the_threshold(threshold: float) -> None:
    assert taken_out(slid(), {LABELLED: ORGAN}, threshold=threshold)[15].max() < threshold


def test_a_rim_and_pieces_of_the_neighbour_go_with_it() -> None:
    """The way back leaves out a cap of the neighbour, and an island."""

    def carry(parts: Mapping[int, Mapping[int, np.ndarray]], slices: tuple[int, int]) -> Steps[dict[int, np.ndarray]]:
        ways = yield from guide(parts, slices)
        for z, way in ways.items():
            if (parts[z][z] & NEIGHBOUR).sum() > (parts[z][z] & ORGAN).sum():
                way[:, :24] = 0
                way[:, disc((32, 46), 3)] = 0
        return ways

    found = taken_out(slid(), {LABELLED: ORGAN}, carry=carry) >= 0.5
    assert (found & (organ() >= 0.5)).sum() == (organ() >= 0.5).sum()
    assert found.sum() <= (organ() >= 0.5).sum() + 4  # pixels where both touch


def test_an_organ_that_finds_back_is_not_touched() -> None:
    np.testing.assert_array_equal(taken_out(organ(), {LABELLED: ORGAN}), organ())


def test_labelled_slices_stay_and_only_what_lies_beyond_them_is_looked_at() -> None:
    asked: list[int] = []

    def carry(parts: Mapping[int, Mapping[int, np.ndarray]], slices: tuple[int, int]) -> Steps[dict[int, np.ndarray]]:
        asked.extend(z for part in parts.values() for z in part)
        assert slices in ((0, LABELLED + 1), (13, SHAPE[0]))
        return (yield from guide(parts, slices))

    # The user says that on slice 13 it is the neighbour: so it is from there on.
    found = taken_out(slid(), {LABELLED: ORGAN, 13: NEIGHBOUR}, carry=carry)
    np.testing.assert_array_equal(found, slid())
    assert asked
    assert all(z < LABELLED or z > 13 for z in asked)


def test_past_a_small_label_near_the_end_parts_must_find_the_next_one() -> None:
    found = slid()
    labels = {LABELLED: ORGAN, 12: disc((30, 20), 4)}
    found[12] = labels[12]
    np.testing.assert_array_equal(taken_out(found.copy(), labels)[:13], found[:13])
    assert not (taken_out(found.copy(), labels)[13:] >= 0.5).any()


@pytest.mark.parametrize(
    ("sure", "labels", "stays"),
    [
        (0.95, {LABELLED: ORGAN}, True),
        (0.6, {LABELLED: ORGAN}, False),
        (0.95, {LABELLED: ORGAN, 12: disc((30, 20), 4)}, False),
    ],
    ids=["sure", "not sure", "labelled near the end"],
)
def test_what_was_surely_recognised_need_not_find_back(
    sure: float, labels: Mapping[int, np.ndarray], stays: bool
) -> None:
    recognised = np.zeros(SHAPE, np.float16)
    recognised[11:18, NEIGHBOUR] = sure
    asked: list[int] = []
    found = taken_out(slid(), labels, carry=noting(asked), recognised=recognised)
    assert bool((found[13:] >= 0.5).any()) is stays
    assert any(z > 13 for z in asked) is not stays  # nobody asks for a way that is not needed
    if stays:
        np.testing.assert_array_equal(found, slid())


def test_what_was_surely_recognised_vouches_for_what_lies_before_it_and_not_beyond() -> None:
    recognised = np.zeros(SHAPE, np.float16)
    recognised[11:14, NEIGHBOUR] = 0.95
    asked: list[int] = []
    found = taken_out(slid(), {LABELLED: ORGAN}, carry=noting(asked), recognised=recognised)
    assert 15 in asked
    assert 13 not in asked
    np.testing.assert_array_equal(found[:14], slid()[:14])
    assert not (found[15:] >= 0.5).any()


@pytest.mark.parametrize("grows", [True, False])
def test_an_organ_that_is_labelled_near_its_end_stays(grows: bool) -> None:
    """What comes back from a large slice of it is no more than what was labelled."""
    radius = [8 + 0.9 * abs(z - 4) if grows else 20 - 1.1 * abs(z - 8) for z in range(SHAPE[0])]
    organ = np.stack([disc((30, 40), max(r, 2)) for r in radius])
    found = np.where(organ, 0.8, 0).astype(np.float16)

    def carry(parts: Mapping[int, Mapping[int, np.ndarray]], slices: tuple[int, int]) -> Steps[dict[int, np.ndarray]]:
        yield Progress(0, 1, "carrying")
        return {z: np.where(organ, 0.9, 0).astype(np.float16) for z in parts}

    np.testing.assert_array_equal(taken_out(found.copy(), {4: organ[4]}, carry=carry, mm=(2.0, 1.5, 1.5)), found)


def test_a_part_that_finds_back_vouches_for_what_lies_before_it() -> None:
    def carry(parts: Mapping[int, Mapping[int, np.ndarray]], slices: tuple[int, int]) -> Steps[dict[int, np.ndarray]]:
        ways = yield from guide(parts, slices)
        for z in parts:
            if z != min(parts, key=lambda z: abs(z - LABELLED)):  # the far part loses its way on the label's side of 11
                ways[z][LABELLED - 1 : 11] = 0
        return ways

    tall = np.zeros(SHAPE, np.float16)
    tall[LABELLED:19, ORGAN] = 0.8
    found = taken_out(tall.copy(), {LABELLED: ORGAN}, carry=carry)
    np.testing.assert_array_equal(found[:14], tall[:14])
    assert not (found[14:] >= 0.5).any()


@pytest.mark.parametrize("mm", [(7.0, 1.2, 1.2), (1.0, 0.8, 0.8)])
def test_organs_that_are_thin_against_the_slices_or_small_are_left_alone(mm: tuple[float, float, float]) -> None:
    def never(parts: object, slices: object) -> Steps[dict[int, np.ndarray]]:
        raise AssertionError((parts, slices))
        yield

    np.testing.assert_array_equal(taken_out(slid(), {LABELLED: ORGAN}, carry=never, mm=mm), slid())


@pytest.mark.parametrize("found", [np.zeros(SHAPE, np.float16), slid()])
def test_nothing_found_or_an_empty_label_is_no_reason_to_fail(found: np.ndarray) -> None:
    before = found.copy()
    np.testing.assert_array_equal(taken_out(found, {LABELLED: np.zeros(SHAPE[1:], bool)}), before)


def test_nothing_found_beside_a_label_stays_nothing() -> None:
    assert not taken_out(np.zeros(SHAPE, np.float16), {LABELLED: ORGAN}).any()


@pytest.mark.parametrize(
    ("inner", "outer", "stranger"),
    [((30, 20), disc((30, 20), 18), False), ((30, 20), disc((30, 34), 16) | disc((30, 20), 6), True)],
    ids=["all around", "on one side"],
)
def test_a_part_that_the_rest_surrounds_belongs_to_the_organ(
    inner: tuple[int, int], outer: np.ndarray, stranger: bool
) -> None:
    """A tip of an organ that grows toward the label is carried back through the middle of the organ and dwindles."""
    way, mask = np.zeros(SHAPE, np.float16), np.zeros(SHAPE, bool)
    way[10:16, disc(inner, 6)] = 0.9
    mask[5:15], mask[15] = outer, disc(inner, 6)
    assert is_stranger(way, 15, 5, mask, outer, 0.5) is stranger
    way[5, disc(inner, 6)] = 0.9  # it arrives after all
    assert not is_stranger(way, 15, 5, mask, outer, 0.5)


def to_the_right(inputs: Tensor) -> Tensor:
    """What is bright and lies over the mask before or right of it: from the left one slides, from the right never."""
    target, previous = inputs[:, 0], (inputs[:, 3] + 1) / 2
    reached = F.max_pool2d(F.pad(previous[:, None], (8, 0, 0, 0)), (1, 9), 1)[:, 0]
    return 0.98 * (target > 0).float() * reached


def beside(shape: tuple[int, int, int] = (20, 64, 64), z_mm: float = 7.0) -> tuple[Callable[[float], Walk], np.ndarray]:
    """Walks through two bright organs side by side, the right one lower; and the left one."""
    left, both = np.zeros(shape, bool), np.zeros(shape, np.float32)
    left[4:12, 20:44, 6:30] = True
    both[left] = 90
    both[10:18, 20:44, 30:54] = 90
    query = Volume(both, np.diag([z_mm, 3.0, 3.0, 1.0]))

    def walk(share: float) -> Walk:
        settings = SegmentSettings(return_share=share, walker_share=0, propagation=PropagationSettings(step_mm=0))
        return Walk(query, MadeModels(propagator=Made(to_the_right)), settings, (0.0, 100.0), (0, shape[0]))

    return walk, left


@pytest.mark.parametrize("z_mm", [7.0, 5.9999998])  # 6 mm as an oblique affine rounds it
def test_a_walk_that_slid_is_put_right(z_mm: float) -> None:
    walk, left = beside(z_mm=z_mm)
    anchors = {3: {6: left[6]}}
    found = {share: finish(within_scan_steps(walk(share), anchors))[3] >= 0.5 for share in (0.0, 0.5)}
    assert (found[0.0] & ~left)[12:].sum() > 1000  # into the neighbour
    assert not found[0.5][12:].any()
    assert (found[0.5] & left).sum() > 0.95 * left.sum()
    assert torch.is_inference_mode_enabled() is False
