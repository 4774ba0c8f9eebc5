"""Intervals against closed forms, by coverage, and that patients stay whole."""

import numpy as np
import pytest
from scipy import stats

from napari_medssl.metrics.intervals import (
    bootstrap_intervals,
    bootstrap_table,
    percentile_interval,
    resample_subjects,
    seed_interval,
)


def test_patients_are_drawn_whole_and_strata_keep_their_size():
    subjects = np.array(["c", "a", "a", "b", "c", "d", "a"])
    strata = np.array([1, 0, 0, 0, 1, 1, 0])
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(50):
        index = resample_subjects(subjects, strata, rng)
        counts = {s: int((subjects[index] == s).sum()) / int((subjects == s).sum()) for s in "abcd"}
        assert all(c == int(c) for c in counts.values())
        assert counts["a"] + counts["b"] == 2
        assert counts["c"] + counts["d"] == 2
        seen.add(tuple(counts.values()))
    assert len(seen) == 9
    assert len({len(resample_subjects(subjects, None, rng)) for _ in range(30)}) > 3


def test_percentiles_5_and_95_are_called_90_percent():
    found = percentile_interval(list(range(101)), level=0.9, over="patients")
    assert (found.low, found.high) == pytest.approx((5, 95))
    assert found.label == "90 % over patients"
    assert percentile_interval([], level=0.9, over="patients") is None


def test_coverage_of_a_mean():
    hits = []
    for trial in range(120):
        rng = np.random.default_rng(trial)
        values = rng.normal(size=25)
        (found,) = bootstrap_intervals(
            lambda i, v=values: float(v[i].mean()), np.arange(25), resamples=200, levels=(0.9,), rng=rng
        )
        hits.append(found.low <= 0 <= found.high)
    assert 0.8 < np.mean(hits) < 0.97


def test_examples_of_one_patient_are_no_independent_witnesses():
    patients = np.repeat(np.arange(10), 50)
    values = np.random.default_rng(0).normal(size=10)[patients]
    (by_patient,) = bootstrap_intervals(
        lambda i: float(values[i].mean()), patients, resamples=300, levels=(0.9,), rng=np.random.default_rng(1)
    )
    (by_slice,) = bootstrap_intervals(
        lambda i: float(values[i].mean()), np.arange(500), resamples=300, levels=(0.9,), rng=np.random.default_rng(1)
    )
    assert by_patient.high - by_patient.low > 4 * (by_slice.high - by_slice.low)


def test_undefined_draws_are_left_out():
    narrow, wide = bootstrap_intervals(
        lambda i: float(i.mean()) if i[0] else None, np.arange(4), resamples=100, rng=np.random.default_rng(0)
    )
    assert 50 < narrow.count < 100
    assert (narrow.level, wide.level) == (0.9, 0.95)
    assert wide.low <= narrow.low < narrow.high <= wide.high
    assert bootstrap_intervals(lambda i: None, np.arange(3), resamples=5, rng=np.random.default_rng(0)) == [None, None]


def test_seeds_follow_student():
    values = [0.8, 0.9, 0.85, 0.7]
    found = seed_interval(values)
    expected = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert (found.low, found.high) == pytest.approx(expected)
    assert found.label == "95 % over seeds"
    assert seed_interval([1.0]) is None


def test_a_table_of_statistics_sees_the_same_patients() -> None:
    values = np.random.default_rng(0).normal(size=40)
    subjects = np.repeat(np.arange(20), 2)

    def both(numbers: np.ndarray) -> dict[str, float | None]:
        return {"mean": float(values[numbers].mean()), "none": None}

    table = bootstrap_table(both, subjects, resamples=50, levels=(0.95,), rng=np.random.default_rng(1))
    alone = bootstrap_intervals(
        lambda n: float(values[n].mean()), subjects, resamples=50, levels=(0.95,), rng=np.random.default_rng(1)
    )
    assert table["mean"] == alone
    assert table["none"] == [None]
