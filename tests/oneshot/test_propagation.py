"""Carrying masks from slice to slice, with networks made by hand instead of trained."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_medssl.models.propagator import paste_grid
from napari_medssl.oneshot.propagation import PropagationSettings, _paste, box_around, propagate_steps
from napari_medssl.oneshot.tracks import TrackStore
from napari_medssl.progress import Progress, finish
from napari_medssl.volume import Volume

PLAIN = PropagationSettings(step_mm=0, mirror=False)
TARGET, PREVIOUS_MASK, SUPPORT_MASK, GAP, DISTANCE = 0, 3, 5, 7, 8
DEPTH, SIDE = 20, 64


class Made(nn.Module):
    """A network that answers with `rule(inputs)`, (B, 9, S, S) to probabilities (B, S, S), and counts its work."""

    crop_size = 64

    def __init__(self, rule: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.rule, self.batches, self.gaps, self.distances = rule, [], [], []

    def forward(self, inputs: Tensor) -> Tensor:
        assert inputs.shape[1:] == (9, 64, 64)
        self.batches.append(len(inputs))
        self.gaps += (inputs[:, GAP, 0, 0] * 10).tolist()
        self.distances += (inputs[:, DISTANCE, 0, 0] * 100).tolist()
        return torch.logit(self.rule(inputs).clamp(1e-4, 1 - 1e-4))


def bright() -> Made:
    """Organ is what is bright on the slice itself."""
    return Made(lambda inputs: (inputs[:, TARGET] > 0.5).float())


def copy() -> Made:
    """Organ is where it was on the slice before."""
    return Made(lambda inputs: (inputs[:, PREVIOUS_MASK] + 1) / 2)


def nothing() -> Made:
    return Made(lambda inputs: torch.zeros_like(inputs[:, 0]))


def organ(first: int = 4, stop: int = 16) -> np.ndarray:
    """A disc that drifts by a pixel per slice, on slices first to stop - 1."""
    ys, xs = np.ogrid[:SIDE, :SIDE]
    out = np.zeros((DEPTH, SIDE, SIDE), bool)
    for z in range(first, stop):
        out[z] = (ys - 20 - z) ** 2 + (xs - 28) ** 2 < 90
    return out


def scan(mask: np.ndarray, spacing_z_mm: float = 5.0) -> Volume:
    image = np.where(mask, 100, 20).astype(np.float32)
    return Volume(image, np.diag([1.0, 1.0, spacing_z_mm, 1.0])[:, [2, 1, 0, 3]])


def carry(
    query: Volume,
    anchors: dict[int, dict[int, np.ndarray]],
    network: nn.Module,
    settings: PropagationSettings = PLAIN,
    **more: object,
) -> dict[int, np.ndarray]:
    with torch.inference_mode():
        return finish(
            propagate_steps(
                query,
                anchors,
                network,
                settings,
                limits=(0, 120),
                device=torch.device("cpu"),
                **more,  # type: ignore[arg-type]
            )
        )


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("step_mm", [0.0, 10.0])
def test_the_organ_is_followed_to_both_ends(mirror: bool, step_mm: float) -> None:
    mask = organ()
    found = carry(scan(mask), {7: {9: mask[9]}}, bright(), PropagationSettings(step_mm=step_mm, mirror=mirror))[7]
    assert found.shape == mask.shape
    assert found.dtype == np.float16
    assert 0 <= found.min() <= found.max() <= 1
    for z in range(4, 16):
        assert dice(found[z] > 0.5, mask[z]) > 0.93, z
    assert not (found[:4] > 0.5).any()
    assert not (found[16:] > 0.5).any()
    np.testing.assert_array_equal(found[9], mask[9])


def test_every_slice_is_reached_by_a_copy_of_the_mask_without_drift() -> None:
    mask = organ()
    found = carry(scan(mask), {1: {10: mask[10]}}, copy())[1]
    for z in range(DEPTH):
        assert dice(found[z] > 0.5, mask[10]) > 0.9, z


def test_a_walker_stops_after_empty_steps_in_a_row() -> None:
    mask = organ()
    for patience in (1, 3):
        network = nothing()
        found = carry(
            scan(mask), {1: {10: mask[10]}}, network, PropagationSettings(step_mm=0, mirror=False, patience=patience)
        )[1]
        assert network.batches == [2] * patience  # one walker each way, then silence
        assert not found[[z for z in range(DEPTH) if z != 10]].any()


def test_a_gap_shorter_than_the_patience_is_crossed() -> None:
    mask = organ()
    mask[12] = False
    assert carry(scan(mask), {1: {9: mask[9]}}, bright())[1][13].max() > 0.5
    impatient = PropagationSettings(step_mm=0, mirror=False, patience=1)
    assert carry(scan(mask), {1: {9: mask[9]}}, bright(), impatient)[1][13].max() == 0


def test_small_remains_count_as_ended() -> None:
    mask = organ()
    few = Made(lambda inputs: (torch.arange(64 * 64).view(64, 64) < 4).float().expand(len(inputs), 64, 64))
    patience = PropagationSettings(step_mm=0, mirror=False, stop_share=0.2, patience=1)
    carry(scan(mask), {1: {10: mask[10]}}, few, patience)
    assert few.batches == [2]


def test_walkers_stay_in_the_range() -> None:
    mask = organ(0, DEPTH)
    network = copy()
    found = carry(scan(mask), {1: {10: mask[10]}}, network, slice_range=(8, 13))[1]
    reached = np.flatnonzero(found.any((1, 2)))
    assert reached.tolist() == [8, 9, 10, 11, 12]
    assert sum(network.batches) == 4


def test_a_labelled_slice_outside_the_range_is_carried_into_it() -> None:
    mask = organ(0, DEPTH)
    found = carry(scan(mask), {1: {3: mask[3]}}, bright(), slice_range=(8, 12))[1]
    for z in range(8, 12):
        assert dice(found[z] > 0.5, mask[z]) > 0.9
    assert not found[12:].any()
    assert not found[:8].any()


def test_labelled_slices_on_both_sides_of_the_range_meet_in_it() -> None:
    mask = organ(0, DEPTH)
    anchors = {1: {2: mask[2], 17: mask[17]}}
    network = copy()
    found = carry(scan(mask), anchors, network, slice_range=(8, 12))[1]
    assert np.flatnonzero(found.any((1, 2))).tolist() == [8, 9, 10, 11]
    assert sum(network.batches) == (11 - 2) + (17 - 8)  # neither goes beyond the range
    way = carry(scan(mask), anchors, copy(), slice_range=(8, 12), keep_way=True)[1]
    assert np.flatnonzero(way.any((1, 2))).tolist() == list(range(2, 18))
    np.testing.assert_array_equal(way[8:12], found[8:12])


def test_a_walker_that_cannot_reach_the_range_does_not_set_out() -> None:
    mask = organ(0, DEPTH)
    network = copy()
    carry(scan(mask), {1: {2: mask[2], 5: mask[5]}}, network, slice_range=(8, 10))
    assert network.batches == [1] * 4  # from 5 to 9, none from 2


def test_at_the_ends_of_the_volume_there_is_one_walker() -> None:
    mask = organ(0, DEPTH)
    network = copy()
    carry(scan(mask), {1: {0: mask[0]}}, network)
    assert network.batches == [1] * (DEPTH - 1)
    only = Volume(scan(mask).data[:1], scan(mask).affine)
    np.testing.assert_array_equal(carry(only, {1: {0: mask[0]}}, copy())[1][0], mask[0])


def test_between_two_labelled_slices_the_nearer_counts_more() -> None:
    ys, xs = np.ogrid[:SIDE, :SIDE]
    large, small = (((ys - 32) ** 2 + (xs - 32) ** 2) < r * r for r in (14, 8))
    query = scan(np.broadcast_to(large, (DEPTH, SIDE, SIDE)))
    # Each walker knows how far it has come: tell the two apart by the distance itself.
    distances = Made(lambda inputs: 0.5 + (inputs[:, DISTANCE] / 10).clamp(max=0.4))
    found = carry(query, {1: {4: large, 10: small}}, distances)[1]
    for z in range(5, 10):
        a, b = z - 4, 10 - z
        pa, pb = (0.5 + d * 5 / 100 / 10 for d in (a, b))
        assert float(found[z, 32, 32]) == pytest.approx((pa / a + pb / b) / (1 / a + 1 / b), abs=2e-3)


def test_a_walker_ends_before_the_next_labelled_slice() -> None:
    mask = organ(0, DEPTH)
    network = copy()
    found = carry(scan(mask), {1: {4: mask[4], 8: np.roll(mask[8], 5, 1)}}, network)[1]
    np.testing.assert_array_equal(found[8], np.roll(mask[8], 5, 1))
    # 3 slices twice in between, 4 below, 11 above.
    assert sum(network.batches) == 3 + 3 + 4 + 11


def test_organs_walk_together_without_seeing_each_other() -> None:
    mask = organ()
    other = np.roll(mask, 20, 2)
    query = scan(mask | other)
    network = bright()
    both = carry(query, {1: {9: mask[9]}, 2: {9: other[9]}}, network)
    assert max(network.batches) == 4  # two organs, two ways, one batch
    for value, own in ((1, mask), (2, other)):
        alone = carry(query, {value: {9: own[9]}}, bright())[value]
        np.testing.assert_allclose(both[value], alone, atol=1e-3)


def test_thin_slices_are_grouped_into_steps() -> None:
    mask = organ(0, DEPTH)
    network = copy()
    found = carry(scan(mask, 1.0), {1: {0: mask[0]}}, network, PropagationSettings(step_mm=3, mirror=False))[1]
    assert network.batches == [3, 3, 3, 3, 3, 3, 1]  # 19 slices, three at a time
    assert network.gaps[:3] == pytest.approx([1, 2, 3])
    assert network.distances == pytest.approx(list(range(1, 20)), abs=1e-3)
    assert all((found[z] > 0.5).any() for z in range(DEPTH))


def test_thick_slices_are_single_steps_with_their_distance() -> None:
    mask = organ(0, DEPTH)
    network = copy()
    carry(scan(mask, 5.0), {1: {16: mask[16]}}, network, PropagationSettings(step_mm=3, mirror=False))
    assert network.batches == [2, 2, 2] + [1] * 13
    assert set(np.round(network.gaps, 3)) == {5.0}
    assert max(network.distances) == pytest.approx(80)


def test_mirroring_averages_both_views() -> None:
    mask = organ(0, DEPTH)
    left = Made(lambda inputs: (torch.arange(64) < 32).float().expand(len(inputs), 64, 64))
    settings = PropagationSettings(step_mm=0, mirror=True, stop_share=0)
    found = carry(scan(mask), {1: {10: mask[10]}}, left, settings, slice_range=(10, 12))[1]
    inside = found[11][found[11] > 0.1]
    assert inside.astype(float) == pytest.approx(np.full(inside.size, 0.5), abs=0.3)
    assert float(np.median(inside)) == pytest.approx(0.5, abs=0.01)


def test_progress_ends_at_its_total() -> None:
    mask = organ()
    steps = propagate_steps(scan(mask), {1: {9: mask[9]}}, copy(), PLAIN, limits=(0, 120), device=torch.device("cpu"))
    reports: list[Progress] = []
    with torch.inference_mode():
        finish(steps, reports.append)
    assert [r.done for r in reports] == list(range(1, 11))
    assert {r.total for r in reports} == {10}


def test_a_correction_recomputes_only_what_it_changes() -> None:
    mask, store = organ(), TrackStore()
    query = scan(mask)
    first, again, corrected = bright(), bright(), bright()
    one = carry(query, {1: {9: mask[9]}}, first, tracks=store, identity="w")[1]
    np.testing.assert_array_equal(carry(query, {1: {9: mask[9]}}, again, tracks=store, identity="w")[1], one)
    assert again.batches == []
    labelled = {1: {9: mask[9], 13: mask[13]}}
    two = carry(query, labelled, corrected, tracks=store, identity="w")[1]
    assert 0 < sum(corrected.batches) < 0.7 * sum(first.batches)
    np.testing.assert_array_equal(carry(query, labelled, bright())[1], two)


@pytest.mark.parametrize("change", ["weights", "settings", "limits"])
def test_ways_walked_otherwise_are_not_taken_over(change: str) -> None:
    mask, store, network = organ(), TrackStore(), bright()
    query = scan(mask)
    carry(query, {1: {9: mask[9]}}, bright(), tracks=store, identity="w")
    settings = PropagationSettings(step_mm=0, mirror=False, patience=3) if change == "settings" else PLAIN
    limits = (0.0, 110.0) if change == "limits" else (0, 120)
    with torch.inference_mode():
        finish(
            propagate_steps(
                query,
                {1: {9: mask[9]}},
                network,
                settings,
                limits=limits,
                device=torch.device("cpu"),
                tracks=store,
                identity="v" if change == "weights" else "w",
            )
        )
    assert network.batches


@pytest.mark.parametrize(("first", "then"), [((5, 12), None), ((5, 12), (3, 19)), (None, (6, 13))])
@pytest.mark.parametrize("step_mm", [0.0, 15.0])
def test_a_way_cut_short_goes_on_as_if_it_had_not_been(
    first: tuple[int, int] | None, then: tuple[int, int] | None, step_mm: float
) -> None:
    mask, store = organ(), TrackStore()
    query, settings = scan(mask), PropagationSettings(step_mm=step_mm, mirror=False)
    carry(query, {1: {9: mask[9]}}, copy(), settings, slice_range=first, tracks=store)
    resumed = carry(query, {1: {9: mask[9]}}, copy(), settings, slice_range=then, tracks=store)[1]
    np.testing.assert_array_equal(resumed, carry(query, {1: {9: mask[9]}}, copy(), settings, slice_range=then)[1])


@pytest.mark.parametrize("stop", range(11, DEPTH))
def test_a_way_cut_short_where_the_organ_ends_takes_no_step_more(stop: int) -> None:
    mask, store = organ(4, 13), TrackStore()
    # Faint remains beyond the organ: a step too many would be seen.
    remains = Made(lambda inputs: (inputs[:, TARGET] > 0.5).float().clamp(min=0.1))
    query, settings = scan(mask), PropagationSettings(step_mm=15, mirror=False, stop_share=0.1)
    carry(query, {1: {9: mask[9]}}, remains, settings, slice_range=(0, stop), tracks=store)
    resumed = carry(query, {1: {9: mask[9]}}, remains, settings, tracks=store)[1]
    np.testing.assert_array_equal(resumed, carry(query, {1: {9: mask[9]}}, remains, settings)[1])


@pytest.mark.parametrize("steps_before", [1, 2, 3])
@pytest.mark.parametrize("how", ["closed", "failed"])
def test_a_way_interrupted_goes_on_as_if_it_had_not_been(how: str, steps_before: int) -> None:
    mask, store = organ(), TrackStore()
    query, settings = scan(mask), PropagationSettings(step_mm=10, mirror=False)
    carry(query, {1: {9: mask[9]}}, bright(), settings, slice_range=(6, 12), tracks=store)
    network = bright()
    if how == "failed":
        network.rule = failing_after(network.rule, steps_before)
    steps = propagate_steps(
        query, {1: {9: mask[9]}}, network, settings, limits=(0, 120), device=torch.device("cpu"), tracks=store
    )
    with contextlib.suppress(RuntimeError), contextlib.closing(steps):
        for _ in range(steps_before):
            next(steps)
        if how == "failed":
            next(steps)
            pytest.fail("the network should have failed")
    resumed = carry(query, {1: {9: mask[9]}}, bright(), settings, tracks=store)[1]
    np.testing.assert_array_equal(resumed, carry(query, {1: {9: mask[9]}}, bright(), settings)[1])


def failing_after(rule: Callable[[Tensor], Tensor], times: int) -> Callable[[Tensor], Tensor]:
    left = iter(range(times))

    def call(inputs: Tensor) -> Tensor:
        if next(left, None) is None:
            raise RuntimeError("made to fail")
        return rule(inputs)

    return call


@pytest.mark.parametrize("box", [(30.0, 30.0, 28.0), (2.0, 61.5, 40.3), (31.5, 30.25, 300.0)])
def test_a_crop_is_pasted_as_into_the_whole_slice(box: tuple[float, float, float]) -> None:
    crop = torch.rand(64, 64, generator=torch.Generator().manual_seed(0))
    boxes = torch.tensor([box])
    whole = F.grid_sample(crop[None, None], paste_grid(boxes, (64, 80)), align_corners=False)[0, 0].numpy()
    part, (top, left) = _paste(crop, boxes[0], (64, 80))
    placed = np.zeros_like(whole)
    placed[top : top + part.shape[0], left : left + part.shape[1]] = part.numpy()
    np.testing.assert_allclose(placed, whole, atol=1e-5)
    assert part.numel() < 64 * 80 or box[2] > 80


def rectangle(top: int, bottom: int, left: int, right: int, side: int = 200) -> np.ndarray:
    out = np.zeros((side, side), bool)
    out[top : bottom + 1, left : right + 1] = True
    return out


@pytest.mark.parametrize(
    ("mask", "support", "box"),
    [
        # Longer side 60: 1.7 * 60 + 10 = 112.
        ((20, 80, 30, 50), (20, 80, 30, 50), (50, 40, 112)),
        # Shrunk to 10: never below 0.6 * 112.
        ((60, 70, 40, 44), (20, 80, 30, 50), (65, 42, 67.2)),
        # Small from the start: 28 pixels at least.
        ((60, 63, 40, 44), (60, 63, 40, 44), (61.5, 42, 28)),
        # Grown beyond the support: follows.
        ((10, 110, 20, 40), (20, 80, 30, 50), (60, 30, 180)),
    ],
)
def test_boxes_by_hand(
    mask: tuple[int, int, int, int], support: tuple[int, int, int, int], box: tuple[float, float, float]
) -> None:
    assert box_around(rectangle(*mask), rectangle(*support)) == pytest.approx(box)


def test_an_empty_mask_looks_where_the_organ_was_labelled() -> None:
    support = rectangle(20, 80, 30, 50)
    assert box_around(np.zeros_like(support), support) == box_around(support, support)


class Guided(Made):
    """A network that also sees an earlier opinion; it keeps what it was shown."""

    guided = True

    def __init__(self) -> None:
        super().__init__(lambda inputs: (inputs[:, 9] + 1) / 2)
        self.shown: list[Tensor] = []

    def forward(self, inputs: Tensor) -> Tensor:
        assert inputs.shape[1:] == (12, 64, 64)
        self.shown.append(inputs[:, 9:11].clone())
        return torch.logit(self.rule(inputs).clamp(1e-4, 1 - 1e-4))


def test_without_guides_a_guided_network_is_told_that_nothing_is_known() -> None:
    mask, network = organ(), Guided()
    carry(scan(mask), {1: {10: mask[10]}}, network)
    assert all(not shown.any() for shown in network.shown)


def test_a_guide_is_shown_on_the_target_and_on_the_slice_beyond() -> None:
    mask, network = organ(), Guided()
    guides = {1: mask.astype(np.float16)}
    store = TrackStore()
    settings = {"limits": (0.0, 100.0), "device": torch.device("cpu"), "tracks": store, "identity": "n"}
    query, anchors = scan(mask), {1: {10: mask[10]}}
    found = finish(propagate_steps(query, anchors, network, PLAIN, guides=guides, **settings))
    agree = 2 * ((found[1] > 0.5) & mask).sum() / ((found[1] > 0.5).sum() + mask.sum())
    assert agree > 0.9  # it answers with its guide
    beyond = torch.cat([shown[:, 1] for shown in network.shown])
    assert (beyond.amax((1, 2)) > 0).sum() > 5
    before = len(network.shown)
    finish(propagate_steps(query, anchors, network, PLAIN, guides=guides, **settings))
    assert len(network.shown) == 2 * before  # guided ways depend on their guide and are walked again


def test_a_lost_walk_is_led_back_by_its_guide() -> None:
    mask = organ()

    class Forgetful(Guided):
        """It loses the organ on slice 12 and otherwise copies what it is given, if that is enough."""

        def __init__(self) -> None:
            super().__init__()
            self.rule = lambda inputs: (inputs[:, PREVIOUS_MASK] > -0.2).float() * (inputs[:, DISTANCE] != 0.1)[..., :1]

    found = {
        name: finish(
            propagate_steps(
                scan(mask),
                {1: {10: mask[10]}},
                Forgetful(),
                PLAIN,
                limits=(0.0, 100.0),
                device=torch.device("cpu"),
                guides={1: np.where(mask, guide, 0).astype(np.float16)},
            )
        )[1]
        for name, guide in (("sure", 1.0), ("unsure", 0.1))
    }
    assert not (found["sure"][12] > 0.5).any()
    assert (found["sure"][13] > 0.5).any()
    assert not (found["unsure"][13] > 0.5).any()
