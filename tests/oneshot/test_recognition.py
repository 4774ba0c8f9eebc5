"""What is labelled is recognised by the labelled slices, or not at all, and found in the whole scan."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from napari_medssl.bounded_cache import BoundedCache
from napari_medssl.intensity import window_limits
from napari_medssl.models.slices import make_frame
from napari_medssl.oneshot.provider import STRUCTURES_BYTES, Structures
from napari_medssl.oneshot.recognition import Example, Known, OnScan, Opinion, RecogniserAt, opinion_steps
from napari_medssl.progress import finish
from napari_medssl.volume import Volume

LOOKS = 3  # under which a labelled slice is shown
SHAPE = (12, 64, 64)
LEFT, RIGHT = np.s_[2:10, 20:44, 6:28], np.s_[4:8, 20:44, 36:58]


class ByBrightness(nn.Module):
    """Knows "bright" and "grey" of one set by their brightness, and "grey" of another; counts its slices.

    What lies in the left half of its input only, if `sided`.
    """

    input_size = 64

    def __init__(self, *, sided: bool = False) -> None:
        super().__init__()
        self.asked, self.sided = 0, sided
        self.structures = {"set": ("bright", "grey"), "other": ("grey",)}
        self.seen: list[Tensor] = []

    def channels(self, group: str) -> slice:
        return {"set": slice(0, 3), "other": slice(3, 5)}[group]

    def forward(self, slices: Tensor) -> Tensor:
        self.asked += len(slices)
        self.seen.append(slices)
        middle = slices[:, 2]
        bright, grey = (middle > 0.8).float(), ((middle > 0.4) & (middle <= 0.8)).float()
        if self.sided:
            bright = bright * (torch.arange(64) < 32)
        blank = torch.full_like(middle, 0.5)
        return 30 * torch.stack([blank, bright, grey, blank, grey], 1)


@dataclass
class Made:
    """What an engine gives."""

    recogniser: nn.Module = field(default_factory=ByBrightness)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    weights_hash: str = "made by hand"
    structures: Structures = field(default_factory=lambda: BoundedCache(STRUCTURES_BYTES))


def scan(z_mm: float = 4.0, directions: tuple[float, float, float] = (1, -1, -1)) -> Volume:
    """A bright block on the left and a grey one on the right, on black."""
    data = np.zeros(SHAPE, np.float32)
    data[LEFT], data[RIGHT] = 100, 60
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = z_mm * directions[0], directions[1], directions[2], 1
    return Volume(data, affine)


def block(where: tuple[slice, ...], z: int) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[where] = True
    return mask[z]


def at(volume: Volume, models: Made | None = None) -> RecogniserAt:
    return RecogniserAt(volume, models or Made(), window_limits(volume))  # type: ignore[arg-type]


def test_a_labelled_organ_is_recognised_and_found_on_all_slices() -> None:
    volume = scan()
    found = at(volume).known({5: block(LEFT, 5)})
    assert found is not None
    assert (found.group, found.names, found.structures) == ("set", ("bright",), (1,))
    assert found.overlap > 0.98
    probability = finish(at(volume).probability_steps(found))
    assert probability.shape == SHAPE
    assert probability.dtype == np.float16
    np.testing.assert_array_equal(probability > 0.5, volume.data == 100)


def test_a_mask_of_two_structures_is_known_as_both() -> None:
    volume = scan()
    found = at(volume).known({5: block(LEFT, 5) | block(RIGHT, 5)})
    assert found is not None
    assert found.names == ("bright", "grey")
    np.testing.assert_array_equal(finish(at(volume).probability_steps(found)) > 0.5, volume.data > 0)


def test_what_no_structure_covers_is_not_known() -> None:
    part = block(LEFT, 5)
    part[25:] = False  # a fifth of the organ
    elsewhere = np.zeros(SHAPE[1:], bool)
    elsewhere[2:12, 2:60] = True
    for mask in (part, elsewhere, np.zeros(SHAPE[1:], bool)):
        assert at(scan()).known({5: mask}) is None


def test_an_organ_that_the_scan_shows_darker_is_recognised_when_it_is_lifted() -> None:
    volume = scan()
    volume.data[RIGHT] = 20  # black for the network, but grey at the square root of its intensity
    found = at(volume).known({5: block(RIGHT, 5)})
    assert found is not None
    assert (found.names, found.power) == (("grey",), 0.5)
    np.testing.assert_array_equal(finish(at(volume).probability_steps(found)) > 0.5, volume.data == 20)
    unchanged = at(volume).known({5: block(LEFT, 5)})
    assert unchanged is not None
    assert unchanged.power == 1.0  # no look is better: the scan as it is


def test_all_labelled_slices_decide_together() -> None:
    found = at(scan()).known({5: block(LEFT, 5), 11: np.zeros(SHAPE[1:], bool)})  # an empty slice says nothing
    assert found is not None
    assert found.overlap > 0.98


def test_the_next_organ_of_a_scan_asks_only_about_its_labelled_slice() -> None:
    models = Made()
    volume = scan()
    for where in (LEFT, RIGHT):
        recogniser = at(volume, models)
        found = recogniser.known({5: block(where, 5)})
        assert found is not None
        finish(recogniser.probability_steps(Known("set", found.structures, found.names, found.overlap)))
    assert models.recogniser.asked == SHAPE[0] + 2 * LOOKS


def test_thin_slices_are_asked_a_few_millimetres_apart_and_filled_between() -> None:
    models = Made()
    volume = scan(z_mm=1.0)
    recogniser = at(volume, models)
    known = recogniser.known({5: block(LEFT, 5)})
    assert known is not None
    probability = finish(recogniser.probability_steps(known))
    assert models.recogniser.asked == LOOKS + SHAPE[0] // 2
    centre = probability[:, 30, 16]
    np.testing.assert_allclose(centre, [0, 0.5, 1, 1, 1, 1, 1, 1, 1, 0.5, 0, 0], atol=0.01)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_scans_stored_the_other_way_round_are_turned_for_the_network(axis: int) -> None:
    directions = [1.0, -1.0, -1.0]
    directions[axis] *= -1
    plain, turned = Made(ByBrightness(sided=True)), Made(ByBrightness(sided=True))
    volume = scan()
    data = np.flip(volume.data, axis).copy()
    other = Volume(data, scan(directions=(directions[0], directions[1], directions[2])).affine)
    z = 5 if axis else SHAPE[0] - 1 - 5
    mask = block(LEFT, 5)
    first = at(volume, plain).known({5: mask})
    second = at(other, turned).known({z: np.flip(mask, axis - 1) if axis else mask})
    assert first is not None
    assert second == first
    torch.testing.assert_close(turned.recogniser.seen[0], plain.recogniser.seen[0])


def test_an_opinion_moves_a_map_by_its_share_and_trust() -> None:
    known = Known("set", (1,), ("bright",), 0.7)  # half of the way from unsure to sure
    opinion = Opinion(known, np.ones((2, 3, 3), np.float16))
    found = np.zeros((2, 3, 3), np.float16)
    opinion.blend_into(found, 0.4)
    np.testing.assert_allclose(found, 0.2, atol=1e-3)


def test_another_structure_is_taken_out_however_little_is_trusted_of_the_rest() -> None:
    known = Known("set", (1,), ("bright",), 0.5, others=(2,))  # no trust at all
    frame = make_frame((64, 64), (1.0, 1.0), 64)
    maps = np.zeros((2, 64, 64), np.uint8)
    maps[1, :32] = 255
    opinion = Opinion(known, np.zeros((3, 64, 64), np.float16), OnScan(maps, np.array([0, 0.5, 1]), frame))
    found = np.full((3, 64, 64), 0.8, np.float16)
    opinion.blend_into(found, 0.6, low=1)
    np.testing.assert_allclose(found[:, 10, 10], [0.8, 0.4, 0], atol=2e-3)
    np.testing.assert_allclose(found[:, 50, 10], 0.8, atol=2e-3)


def test_structures_that_have_a_part_in_a_mask_are_no_others() -> None:
    left, right = block(LEFT, 5), block(RIGHT, 5)
    for mask, others in ((left, (2,)), (left | right, ())):
        found = at(scan()).known({5: mask})
        assert found is not None
        assert found.others == others
    fifth = right.copy()
    fifth[25:] = False  # too little for the mask to be both
    found = at(scan()).known({5: left | fifth})
    assert found is not None
    assert (found.structures, found.others) == ((1,), ())


def test_another_structure_must_be_seen_under_all_looks() -> None:
    volume = scan()
    volume.data[:, 50:60, 36:58] = (
        63.5  # grey as it is, brighter and darker; the block above only as it is and brighter
    )
    recogniser = at(volume)
    found = recogniser.known({5: block(LEFT, 5)})
    assert found is not None
    seen = finish(recogniser.others_steps(found)).at(0, SHAPE[0])
    np.testing.assert_allclose(seen, volume.data == 63.5, atol=1e-3)


def test_others_are_only_asked_for_where_the_organ_itself_is_not_trusted_fully() -> None:
    volume = scan()
    spread = block(LEFT, 5)
    spread[45:63, 6:36] = True  # the bright block has half of the mask
    for mask, asked in ((block(LEFT, 5), False), (spread, True)):
        models = Made()
        example = Example(volume, window_limits(volume), {5: mask})
        opinion = finish(opinion_steps(volume, [example], models, window_limits(volume)))  # type: ignore[arg-type]
        assert opinion is not None
        assert (opinion.elsewhere is not None) == asked
        assert models.recogniser.asked == LOOKS + SHAPE[0] * (LOOKS if asked else 1)


def test_small_organs_need_less_overlap_than_large_ones() -> None:
    """A border that is off by a pixel costs an adrenal half of its Dice and a liver nothing."""

    def known(overlap: float, radius_mm: float) -> Known:
        return Known("set", (1,), ("bright",), overlap, radius_mm=radius_mm)

    assert [known(0.5, r).enough for r in (5, 10, 25, 60)] == [True, True, False, False]
    trusts = [known(0.65, r).trust for r in (5, 10, 17, 25, 60)]
    assert trusts == sorted(trusts, reverse=True)
    assert trusts[0] == trusts[1] == pytest.approx(0.35 / 0.45)
    assert trusts[-1] == trusts[-2] == pytest.approx(0.15 / 0.4)
    assert known(1.0, 5).trust < 1
    assert known(0.1, 5).trust == 0


def test_the_size_of_the_largest_mask_is_measured_in_millimetres() -> None:
    found = at(scan()).known({5: block(LEFT, 5), 6: block(LEFT, 6) & False})
    assert found is not None
    assert found.radius_mm == pytest.approx(np.sqrt(block(LEFT, 5).sum() / np.pi), abs=0.1)
    part = block(LEFT, 5)
    part[36:] = False
    half = at(scan()).known({5: part})
    assert half is not None
    assert half.radius_mm == found.radius_mm  # of the structure, of which the mask is a part


def test_an_opinion_begins_and_ends_with_the_part_that_agrees() -> None:
    probability = np.zeros((20, 16, 16), np.float16)
    probability[3:9, 2:6, 2:6] = 0.7
    probability[12:20, 8:14, 8:14] = 0.9  # larger, but somewhere else
    opinion = Opinion(Known("set", (1,), ("bright",), 0.8), probability)
    found = np.zeros(probability.shape, np.float32)
    assert opinion.extent(found) is None
    found[5:14, 3:6, 3:6] = 0.8
    assert opinion.extent(found) == (3, 9)
    assert Opinion(opinion.known, probability / 2).extent(found) is None


def test_a_scan_that_is_labelled_from_end_to_end_is_asked_about_eight_slices() -> None:
    models = Made()
    volume = scan(z_mm=0.5)
    recogniser = at(Volume(np.repeat(volume.data, 5, 0), volume.affine), models)
    found = recogniser.known({z: block(LEFT, 5) for z in range(12, 48)})
    assert found is not None
    assert models.recogniser.asked == 8 * LOOKS


def test_a_stack_that_is_not_axial_stays_as_it_is() -> None:
    models = Made(ByBrightness(sided=True))
    volume = scan()
    sagittal = np.zeros((4, 4))
    sagittal[0, 0], sagittal[2, 1], sagittal[1, 2], sagittal[3, 3] = -4, -1, 1, 1
    sagittal[2, 0], sagittal[1, 1], sagittal[0, 2] = -1e-17, 1e-17, 1e-17
    assert at(Volume(volume.data, sagittal), models).known({5: block(LEFT, 5)}) is not None
    plain = Made(ByBrightness(sided=True))
    at(volume, plain).known({5: block(LEFT, 5)})
    torch.testing.assert_close(models.recogniser.seen[0], plain.recogniser.seen[0])


@pytest.mark.parametrize(
    ("overlap", "shift", "agrees"), [(0.62, 3, True), (0.62, 6, False), (0.9, 6, True), (0.9, 8, False)]
)
def test_the_less_sure_an_organ_was_recognised_the_more_must_agree(overlap: float, shift: int, agrees: bool) -> None:
    """Blocks 8 wide that are 3, 6 and 8 apart have a Dice of 0.63, 0.25 and 0."""
    probability = np.zeros((20, 16, 32), np.float16)
    probability[:, 4:12, 4:12] = 0.7
    found = np.roll(probability, shift, 2).astype(np.float32)
    found[:5], found[15:] = 0, 0
    opinion = Opinion(Known("set", (1,), ("bright",), overlap), probability)
    assert opinion.agrees_with(found, low=5, high=15) == agrees
