"""Heights speak for a class as far as its marks reach, and not where it lies anywhere."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from napari_medssl.classify.slices import LearnSettings, SliceVectors, learn_slices, several_classes
from napari_medssl.classify.slices.profile import learn_profile, lies_anywhere

HEIGHTS = np.arange(0, 100, 10, dtype=np.float32)
SHOWN = np.array([[0, 0, 0, 1, 1, 1, 0, 0, 0, 0]], np.float32).T
ONCE = np.ones((1, 10), np.intp)
ONE_SCAN = np.zeros(10, np.intp)


def test_a_profile_is_the_distance_to_the_ends_of_a_class() -> None:
    profile = learn_profile(HEIGHTS, SHOWN, ONE_SCAN, draws=ONCE)
    found = profile.logits(np.array([25, 40, 0, 55, -500], np.float32))[0, :, 0]
    assert found == pytest.approx([0, 2, -3, 0, -3], abs=0.4)  # a tenth for each mm, 0 between marks that differ


def test_pieces_of_a_class_stay_pieces_and_unknown_slices_say_nothing() -> None:
    pieces = np.array([[1, 0, 0, 0, 1, np.nan, np.nan, np.nan, np.nan, np.nan]], np.float32).T
    found = learn_profile(HEIGHTS, pieces, ONE_SCAN, draws=ONCE).logits(HEIGHTS)[0, :, 0]
    assert (found > 0).tolist() == [True, False, False, False, *[True] * 6]


def test_scans_are_averaged_and_those_without_a_word_left_out() -> None:
    targets, scan = np.concatenate([SHOWN, SHOWN, SHOWN * np.nan]), np.repeat([0, 1, 2], 10)
    heights = np.concatenate([HEIGHTS, HEIGHTS + 20, HEIGHTS])
    found = learn_profile(heights, targets, scan, draws=np.ones((1, 30), np.intp)).logits(np.array([35.0]))[0, 0, 0]
    assert found == pytest.approx((1.0 - 1.0) / 2, abs=0.3)


def test_a_class_that_lies_anywhere_is_told_from_one_that_does_not() -> None:
    targets = np.concatenate([SHOWN, SHOWN], 1)
    said = np.stack([SHOWN[:, 0], np.roll(SHOWN[:, 0], 5)], 1)
    assert lies_anywhere(said, targets).tolist() == [False, True]


def test_findings_at_other_heights_in_every_scan_are_learned_by_their_look(
    make_scan: Callable[..., SliceVectors],
) -> None:
    rng, scans, said, places = np.random.default_rng(0), {}, {}, {"a": 3, "b": 16, "c": 9, "d": 6}
    for seed, (name, at) in enumerate(places.items()):
        scan = make_scan(seed)
        scan.data[at : at + 2, 3::6] += 2 + rng.random()
        scans[name] = scan
        said[name] = {z: ["lesion"] * (at <= z < at + 2) for z in range(len(scan))}
    learned = several_classes(["lesion"], {name: said[name] for name in "abc"})
    head = learn_slices(scans, learned, LearnSettings(members=2))
    assert head.profile is not None
    assert not head.profile.log_odds.any()
    assert head.scores(scans["d"]).probability[:, 0].argsort()[-2:].tolist() in ([6, 7], [7, 6])
