"""Measures with intervals over patients."""

from __future__ import annotations

import numpy as np
import pytest

from napari_medssl.classify.exams.judging import MEAN, MEASURES, headline, judge


def judged(targets: np.ndarray, probability: np.ndarray, people: np.ndarray, **more: object):
    answers = (probability >= 0.5).astype(int)
    labels = tuple("abc"[: targets.shape[1]])
    return judge(targets, probability, answers, kind="several", labels=labels, people=people, resamples=200, **more)


def test_every_measure_has_a_value_and_an_interval_around_it() -> None:
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 2, (60, 2))
    probability = np.clip(0.5 * targets + rng.random((60, 2)) * 0.6, 0, 1)
    found = judged(targets, probability, np.arange(60))
    assert set(found.by_label) == {"a", "b", MEAN}
    for row in found.by_label.values():
        assert tuple(row) == MEASURES
        for name, number in row.items():
            assert number.interval is not None
            assert number.interval.level == 0.95
            if name != "ece":  # resampling makes small bins more extreme, which biases it
                assert number.interval.low <= number.measure.value <= number.interval.high
    mean = np.mean([found.by_label[n]["auc"].measure.value for n in "ab"])
    assert headline(found).measure.value == pytest.approx(mean)


def test_exams_of_a_person_are_drawn_together() -> None:
    """Forty exams of four people tell as little as four exams: the interval is as wide."""
    rng = np.random.default_rng(1)
    truth, score = np.array([0, 1, 0, 1] * 3), rng.random(12)
    few = judged(truth[:, None], score[:, None], np.arange(12))
    many = judged(np.tile(truth, 10)[:, None], np.tile(score, 10)[:, None], np.tile(np.arange(12), 10))
    apart = judged(np.tile(truth, 10)[:, None], np.tile(score, 10)[:, None], np.arange(120))

    def width(found) -> float:
        interval = found.by_label["a"]["brier"].interval
        return interval.high - interval.low

    assert width(many) == pytest.approx(width(few))
    assert width(apart) < 0.6 * width(many)
    assert (many.exams, many.people) == (120, 12)


def test_groups_of_one_or_two_people_do_not_make_a_short_interval() -> None:
    truth = np.array([0, 0, 0, 0, 0, 0, 1])
    score = np.array([0.1, 0.2, 0.7, 0.4, 0.5, 0.6, 0.65])
    interval = judged(truth[:, None], score[:, None], np.arange(7)).by_label["a"]["accuracy"].interval
    assert interval.high - interval.low > 0.3


def test_one_class_alone_has_no_auc_but_a_reason() -> None:
    found = judged(np.zeros((6, 1)), np.linspace(0, 1, 6)[:, None], np.arange(6)).by_label["a"]
    assert found["auc"].measure.value is None
    assert "all 6 examples are negative" in found["auc"].measure.reason
    assert found["auc"].interval is None
    assert found["specificity"].measure.value == pytest.approx(0.5)


def test_of_several_classes_all_are_judged_together_too() -> None:
    targets = np.eye(3)[np.arange(30) % 3]
    probability = 0.6 * targets + 0.4 / 3
    answers = np.eye(3)[probability.argmax(1)]
    found = judge(targets, probability, answers, kind="one", labels=("x", "y", "z"), people=np.arange(30), resamples=20)
    assert found.by_label[MEAN]["accuracy"].measure.value == 1.0
    assert found.by_label["y"]["auc"].measure.value == 1.0
