"""From scores to findings, thresholds and ranges."""

from __future__ import annotations

import numpy as np
import pytest

from napari_medssl.classify.slices import SliceScores, findings, slice_range_from_scores
from napari_medssl.classify.slices.calibration import fit_calibration, uncalibrated
from napari_medssl.classify.slices.draws import bootstrap, folds
from napari_medssl.classify.slices.thresholds import choose_threshold


def scores_of(*columns: list[float]) -> SliceScores:
    probability = np.array(columns, np.float32).T
    names = tuple("abc"[: len(columns)])
    return SliceScores(names, probability, np.full_like(probability, 0.1), probability.max(0))


def test_runs_with_their_peaks_the_surest_first() -> None:
    scores = scores_of([0.1, 0.6, 0.4, 0.7, 0.1, 0.1, 0.9], [0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2])
    found = findings(scores, {"a": 0.5, "b": 0.5})
    assert [(f.name, f.first, f.last, f.peak) for f in found] == [("a", 6, 6, 6), ("a", 1, 3, 3)]
    assert found[0].probability == pytest.approx(0.9)
    assert len(findings(scores, {"a": 0.5}, gap=0)) == 3
    assert findings(scores, {"b": 0.5}) == ()


def test_unknown_class() -> None:
    with pytest.raises(KeyError, match="no class is called 'z'"):
        scores_of([0.1]).of("z")


@pytest.mark.parametrize(
    ("probability", "margin", "wanted"),
    [
        ([0.1, 0.4], 0, None),
        ([], 0, None),
        ([0.9], 10, (0, 1)),
        ([0.0, 0.9, 0.1, 0.9, 0.9, 0.0], 0, (1, 5)),
        ([0.0, 0.2, 0.9, 0.9, 0.0, 0.0, 0.0, 0.2], 0, (1, 4)),
        ([0.0, 0.0, 0.9, 0.0, 0.0], 5, (1, 4)),
        ([np.nan, 0.9, np.nan], 0, (1, 2)),
    ],
)
def test_range_of_an_organ(probability: list[float], margin: float, wanted: tuple[int, int] | None) -> None:
    assert slice_range_from_scores(np.array(probability), margin_mm=margin, slice_mm=5) == wanted


def test_the_range_has_the_largest_sum_of_all() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        p = rng.random(12) ** 3
        low, high = slice_range_from_scores(p, threshold=0.3, margin_mm=0) or (0, 0)
        gain = p - (0.75 * p.min() + 0.25 * 0.3)
        sums = [gain[a:b].sum() for a in range(12) for b in range(a + 1, 13)]
        assert gain[low:high].sum() == pytest.approx(max(sums))


def test_thresholds_separate_and_refuse_too_few() -> None:
    truth = np.array([0, 0, 0, 0, 1, 1, 1, np.nan], np.float32)
    stated = np.array([0.1, 0.1, 0.2, 0.7, 0.3, 0.8, 0.9, 0.5], np.float32)
    assert 0.2 < choose_threshold(truth, stated) < 0.3
    assert choose_threshold(truth, stated, "half") == 0.5
    assert choose_threshold(truth[:6], stated[:6]) == 0.5  # two positives
    assert choose_threshold(truth, np.full(8, 0.4, np.float32)) == 0.5


def test_overconfident_logits_are_tempered_and_shifted() -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(0, 1.5, 2000)
    targets = (rng.random(2000) < 1 / (1 + np.exp(-true))).astype(np.float32)[:, None]
    found = fit_calibration((4 * true + 2)[:, None].astype(np.float32), targets, "several")
    assert found.scale[0] == pytest.approx(0.25, abs=0.03)
    assert found.shift[0] == pytest.approx(-0.5, abs=0.15)
    assert found.fitted.all()


def test_separable_and_few_examples_stay_finite() -> None:
    logits = np.array([[-9], [-8], [-7], [7], [8], [9]], np.float32)
    targets = (logits > 0).astype(np.float32)
    stated = fit_calibration(logits, targets, "several").probability(logits, "several")
    assert 0 < stated.min() < 0.3
    assert 0.7 < stated.max() < 1
    few = fit_calibration(logits[:4], targets[:4], "several")
    assert not few.fitted.any()
    np.testing.assert_array_equal(few.probability(logits, "several"), uncalibrated(1).probability(logits, "several"))


def test_one_temperature_for_classes_that_exclude_each_other() -> None:
    rng = np.random.default_rng(1)
    true = rng.normal(0, 2, (3000, 3))
    share = np.exp(true) / np.exp(true).sum(1, keepdims=True)
    chosen = np.array([rng.choice(3, p=row) for row in share])
    found = fit_calibration((3 * true).astype(np.float32), np.eye(3, dtype=np.float32)[chosen], "one")
    np.testing.assert_allclose(found.scale, 1 / 3, atol=0.03)
    np.testing.assert_allclose(found.probability((3 * true).astype(np.float32), "one").sum(1), 1, rtol=1e-5)


def test_draws_keep_both_sides_and_people_together() -> None:
    targets = np.array([[1], [0], [0], [0], [0], [0]], np.float32)
    draws = bootstrap(targets, np.zeros(6, np.intp), 30, np.random.default_rng(0))
    assert (draws[0] == 1).all()
    assert (draws[:, 0] > 0).all()
    assert (draws[:, 1:].sum(1) > 0).all()
    assert (draws[1:] != 1).any(1).sum() > 20
    scan = np.array([0, 0, 1, 1, 2, 2])
    by_scan = bootstrap(np.array([[1], [0]] * 3, np.float32), scan, 10, np.random.default_rng(0))
    assert (by_scan[:, ::2] == by_scan[:, 1::2]).all()


def test_every_mark_is_kept_aside_once_and_scans_as_a_whole() -> None:
    targets = np.array([[1], [1], [0], [0], [1], [0]], np.float32)
    scan = np.array([0, 0, 0, 4, 4, 4])
    parts = list(folds(targets, scan))
    assert sorted(i for _, held in parts for i in held) == list(range(6))
    assert all(set(scan[train]).isdisjoint(scan[held]) for train, held in parts)
    one_scan = list(folds(targets, np.zeros(6, np.intp)))
    assert all({1.0, 0.0} == set(targets[train, 0]) for train, _ in one_scan)
