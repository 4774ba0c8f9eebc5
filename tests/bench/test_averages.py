"""Averages and their intervals: organs count alike, people and choices are drawn as they hang together."""

import dataclasses
import math

import numpy as np
import pytest

from napari_medssl.bench.accuracy import Score
from napari_medssl.bench.averages import against, averages, gains, lines


def score(scan, organ, whole, **more):
    return Score(scan, organ, whole, whole, 1.0, common=whole, surface_dice=whole, **more)


def test_organs_count_equally_and_scans_within_them():
    scores = [score("a", 1, 1.0), score("b", 1, 0.5), score("a", 2, 0.25)]
    found = lines(scores, crossed=False)
    assert [(line.organ, line.scans, line.values["whole"].mean) for line in found] == [
        (1, 2, 0.75), (2, 1, 0.25), (0, 2, 0.5)
    ]  # fmt: skip


def test_choices_of_a_scan_are_averaged_before_scans():
    scores = [score("a", 1, v, choice=n) for n, v in enumerate((0.0, 0.5, 1.0))] + [score("b", 1, 0.9)]
    assert lines(scores, crossed=False)[0].values["whole"].mean == pytest.approx((0.5 + 0.9) / 2)


def test_signed_and_absolute_volumes_and_what_is_undefined():
    scores = [
        dataclasses.replace(score(scan, 1, 0.5), volume_percent=v, hd95_mm=h)
        for scan, v, h in (("a", -10.0, 4.0), ("b", 30.0, math.nan))
    ]
    line = lines(scores, crossed=False)[0]
    assert line.values["volume_percent"].mean == 10
    assert line.values["absolute_volume_percent"].mean == 20
    assert line.values["hd95_mm"].mean == 4
    assert line.undefined["hd95_mm"] == 1
    assert line.undefined["whole"] == 0


def test_times_are_medians():
    scores = [
        dataclasses.replace(score("a", organ, 0.5), seconds=float(organ), cpu_seconds=2.0 * organ)
        for organ in (1, 2, 9)
    ]
    assert [(line.seconds, line.cpu_seconds) for line in lines(scores, crossed=False)] == [
        (1, 2), (2, 4), (9, 18), (2, 4)
    ]  # fmt: skip


def test_intervals_over_people_have_the_width_of_their_mean():
    """One choice, many people: the percentile interval is that of the mean's normal distribution."""
    rng = np.random.default_rng(0)
    values = rng.normal(0.7, 0.1, (60, 1, 1))
    found = averages(values, np.arange(60), crossed=False)[0]
    half = 1.96 * values.std() / np.sqrt(60)
    assert found.over_supports is None
    assert found.over_both is None
    assert found.interval.low == pytest.approx(values.mean() - half, abs=0.15 * half)
    assert found.interval.high == pytest.approx(values.mean() + half, abs=0.15 * half)


def test_scans_of_a_person_are_drawn_together():
    values = np.repeat(np.random.default_rng(1).normal(size=12), 4)[:, None, None]
    together = averages(values, np.repeat(np.arange(12), 4), crossed=False)[0].over_subjects
    apart = averages(values, np.arange(48), crossed=False)[0].over_subjects
    assert together.high - together.low > 1.5 * (apart.high - apart.low)


def test_choices_of_support_within_scans_and_across():
    """When all scans share their supports, a good or bad one moves all of them: the interval is wider."""
    rng = np.random.default_rng(2)
    people, choices = 25, 8
    effect = rng.normal(0, 0.1, (1, choices, 1))
    shared = 0.5 + effect + rng.normal(0, 0.001, (people, choices, 1))
    own = averages(shared, np.arange(people), crossed=False)[0].over_supports
    same = averages(shared, np.arange(people), crossed=True)[0].over_supports
    spread = effect.std() / np.sqrt(choices)
    assert same.high - same.low == pytest.approx(2 * 1.96 * spread, rel=0.2)
    assert own.high - own.low == pytest.approx(2 * 1.96 * spread / np.sqrt(people), rel=0.2)


def test_both_together_are_wider_than_either():
    values = np.random.default_rng(3).normal(0.6, 0.1, (8, 5, 3)) + np.random.default_rng(4).normal(0, 0.1, (8, 1, 1))
    for found in averages(values, np.arange(8), crossed=True):
        width = {i.over: i.high - i.low for i in (found.over_subjects, found.over_supports, found.over_both)}
        assert width["subjects and supports"] > max(width["subjects"], width["supports"])
        assert found.interval is found.over_both
        assert found.interval.low < found.mean < found.interval.high


def test_missing_values_are_left_out_of_every_draw():
    values = np.random.default_rng(5).uniform(size=(6, 2, 2))
    values[0, :, 1] = values[3, 1, 0] = np.nan
    found = averages(values, np.arange(6), crossed=False)
    assert found[0].mean == pytest.approx(np.mean([np.nanmean(row) for row in values[..., 0]]))
    assert found[1].mean == pytest.approx(values[1:, :, 1].mean())
    assert [a.count for a in found] == [11, 10, 21]
    assert averages(np.full((2, 1, 1), np.nan), np.arange(2), crossed=False)[0].mean is None


def test_large_tables_are_drawn_in_parts(monkeypatch):
    values = np.random.default_rng(6).uniform(size=(5, 3, 2))
    monkeypatch.setattr("napari_medssl.bench.averages._CHUNK_VALUES", 700)
    parts = averages(values, np.arange(5), crossed=False, resamples=400)[2]
    assert parts.over_both.count == 400
    assert parts.over_both.low < parts.mean < parts.over_both.high


def test_differences_are_of_the_same_labels():
    """A constant lead is certain, however much the scans differ; unpaired values say nothing."""
    rng = np.random.default_rng(7)
    scores = []
    for scan in "abcdef":
        base = rng.uniform(0.3, 0.9)
        scores += [score(scan, 1, base), score(scan, 1, base - 0.05, method="forest")]
        scores += [score(scan, 2, base), score(scan, 2, base + 0.02, method="forest")]
    scores.append(score("g", 1, 0.0))  # the forest has no answer here
    found = {c.organ: c for c in against(scores, crossed=False)}
    assert found[1].value.mean == pytest.approx(0.05)
    assert (found[1].verdict, found[2].verdict) == ("surely ahead", "surely behind")
    assert found[0].value.mean == pytest.approx(0.015)
    alone = against([score("a", 1, 0.5), score("a", 1, 0.5, method="copy")], crossed=False)
    assert alone[0].verdict == "even"
    assert against([], crossed=False) == []
    slices = [
        dataclasses.replace(score("a", 1, v, method=m), choice=c)
        for c in range(3)
        for m, v in (("medssl", 0.9), ("copy", 0.2))
    ]
    assert against(slices, crossed=False)[0].verdict == "ahead", "one scan is no proof"


def test_gain_of_slices_is_from_one_number_to_the_next():
    scores = [score(scan, 1, value, slices=k) for scan in "ab" for k, value in ((1, 0.5), (2, 0.7), (4, 0.65))]
    found = [c for c in gains(scores, crossed=False) if c.organ == 1]
    assert [(c.first, c.second) for c in found] == [("2", "1"), ("4", "2")]
    assert [c.value.mean for c in found] == pytest.approx([0.2, -0.05])
