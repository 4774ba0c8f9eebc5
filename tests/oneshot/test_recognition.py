"""What is labelled is recognised by the labelled slices, or not at all, and found in the whole scan."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_medssl.oneshot.recognition import Known
from napari_medssl.progress import finish
from napari_medssl.volume import Volume
from tests.oneshot.by_brightness import LEFT, LOOKS, RIGHT, SHAPE, ByBrightness, Made, at, block, scan


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


def test_what_the_network_is_unsure_of_is_lifted_by_half_of_what_the_label_asks_for() -> None:
    volume = scan()
    unsure = Made(ByBrightness(sure=0.3))  # an odds' logarithm of -0.85; 1 more, and all of the label is found
    found = at(volume, unsure).known({5: block(LEFT, 5)})
    assert found is not None
    assert found.names == ("bright",)
    assert found.lift == 0.5
    inside = 1 / (1 + np.exp(0.847 - 0.5))
    assert found.overlap == pytest.approx(2 * inside / (1 + inside), abs=0.02)
    probability = finish(at(volume, unsure).probability_steps(found))
    np.testing.assert_allclose(probability[volume.data == 100], inside, atol=0.005)
    assert probability[volume.data != 100].max() == 0  # what is ruled out stays so
    sure = at(volume).known({5: block(LEFT, 5)})
    assert sure is not None
    assert sure.lift == 0


def test_structures_of_other_fields_of_view_are_not_looked_for() -> None:
    volume = scan()
    assert at(volume, Made(ByBrightness(least_mm=63))).known({5: block(LEFT, 5)}) is not None
    models = Made(ByBrightness(least_mm=64))
    assert at(volume, models).known({5: block(LEFT, 5)}) is None
    assert models.recogniser.asked == 0


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
    seen = finish(recogniser.others_steps(found, 0, SHAPE[0])).at(0, SHAPE[0])
    np.testing.assert_allclose(seen, volume.data == 63.5, atol=1e-3)


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
