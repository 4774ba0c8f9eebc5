"""The simulated user's strokes, and the rules it can follow."""

from __future__ import annotations

import numpy as np
import pytest

from napari_medssl.bench.simulated_user import line_through, next_stroke
from napari_medssl.bench.slice_rules import Standing, choose_slice
from napari_medssl.oneshot import Segmentation, Support
from napari_medssl.volume import Volume

MM = (5.0, 1.0, 1.0)
SHAPE = (12, 24, 24)


def _truth() -> np.ndarray:
    truth = np.zeros(SHAPE, np.uint8)
    truth[2:10, 4:12, 4:20] = 1
    truth[2:10, 14:20, 4:20] = 2
    return truth


def test_the_stroke_lies_in_the_largest_wrong_region_and_says_what_is_true_there() -> None:
    labels, truth = _truth(), _truth()
    labels[4, 4:12, 4:20] = 0  # missing: 128 pixels
    labels[6, 14:20, 4:10] = 1  # the wrong organ: 36
    labels[8, 21:24, 0:5] = 2  # nothing is there: 15
    wanted = [(4, 1), (6, 2), (8, 0)]
    for z, value in wanted:
        stroke = next_stroke(labels, truth, spacing_mm=MM)
        assert stroke is not None
        assert set(stroke.at[:, 0]) == {z}
        assert set(stroke.values) == {value}
        assert (truth[stroke.index] == value).all()
        assert (labels[stroke.index] != value).all()
        labels[z] = truth[z]
    assert next_stroke(labels, truth, spacing_mm=MM) is None


def test_slices_left_out_and_specks_are_not_corrected() -> None:
    labels, truth = _truth(), _truth()
    labels[4] = 0
    labels[7, 0, :4] = 1  # four pixels
    assert next_stroke(labels, truth, spacing_mm=MM, without=[4]) is None


def test_a_seed_takes_another_region_and_the_same_seed_the_same() -> None:
    labels, truth = _truth(), _truth()
    labels[3:8] = 0
    same = [next_stroke(labels, truth, spacing_mm=MM, seed=5) for _ in range(2)]
    assert same[0] is not None
    assert same[1] is not None
    np.testing.assert_array_equal(same[0].at, same[1].at)
    places = {
        (int(s.at[0, 0]), int(s.values[0]))
        for n in range(20)
        if (s := next_stroke(labels, truth, spacing_mm=MM, seed=n))
    }
    assert len(places) == 3


def test_a_line_runs_along_its_region_and_is_as_wide_as_the_brush() -> None:
    region = np.zeros((30, 60), bool)
    region[5:25, 5:55] = True
    line = line_through(region, (1.0, 1.0))
    assert (line <= region).all()
    xs = np.nonzero(line)[1]
    assert np.ptp(xs) > 20
    assert line.any(axis=0).sum() < line.sum() <= 6 * line.any(axis=0).sum()
    thin = np.zeros((5, 20), bool)
    thin[2, 3:17] = True
    assert (line_through(thin, (1.0, 1.0)) <= thin).all()


def _standing(found: range, labelled: tuple[int, ...], absent: tuple[int, ...] = ()) -> Standing:
    scan = Volume(np.random.default_rng(0).normal(size=SHAPE), np.eye(4)[:, [2, 1, 0, 3]])
    mask, labels = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    mask[list(labelled), 4:8, 4:8] = 1
    labels[list(found), 4:8, 4:8] = 1
    support = Support(scan, mask, absent={1: absent} if absent else {})
    return Standing(scan, support, Segmentation(scan.like(labels), {1: labels.astype(np.float16)}, {}))


@pytest.mark.parametrize(
    ("rule", "labelled", "wanted"),
    [
        ("furthest", (4,), 10),
        ("furthest", (4, 10), 1),  # as far as 7: the lower
        ("furthest", (3, 5), 10),
        ("middle", (4,), 8),  # of 5 to 10
        ("middle", (4, 10), 7),
        ("middle", (1, 5, 9), 3),  # two stretches of equal length: the lower
    ],
)
def test_rules_without_a_network(rule: str, labelled: tuple[int, ...], wanted: int) -> None:
    standing = _standing(range(1, 11), labelled)
    assert choose_slice(rule, standing, np.random.default_rng(0)) == wanted


def test_random_takes_open_slices_of_the_organ_only_and_ends_with_them() -> None:
    standing = _standing(range(3, 7), (4,), absent=(6,))
    rng = np.random.default_rng(0)
    assert {choose_slice("random", standing, rng) for _ in range(30)} == {3, 5}
    full = _standing(range(3, 5), (3, 4))
    assert all(choose_slice(rule, full, rng) is None for rule in ("random", "furthest", "middle"))


def test_rules_by_confidence_name_an_open_slice() -> None:
    standing = _standing(range(2, 10), (4,), absent=(10,))
    for rule in ("suggest", "entropy"):
        z = choose_slice(rule, standing, np.random.default_rng(0))
        assert z is not None
        assert z not in standing.known
