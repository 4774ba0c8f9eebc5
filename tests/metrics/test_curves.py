"""Curves against their definitions on examples that can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from napari_medssl.metrics.classification import auc, calibration_error
from napari_medssl.metrics.curves import precision_recall, reliability, roc

TRUTH = np.array([0, 0, 1, 0, 1, 1])
SCORE = np.array([0.1, 0.2, 0.3, 0.4, 0.8, 0.9])


def test_the_roc_curve_has_the_area_of_the_ranks():
    curve = roc(TRUTH, SCORE)
    assert curve.area.value == pytest.approx(auc(TRUTH, SCORE).value) == pytest.approx(8 / 9)
    assert (curve.x[0], curve.y[0], curve.x[-1], curve.y[-1]) == (0, 0, 1, 1)
    assert np.interp(0.0, curve.x[:2], curve.y[:2]) <= 2 / 3


def test_average_precision_is_the_sum_of_steps():
    curve = precision_recall(TRUTH, SCORE)
    assert curve.area.value == pytest.approx((1 + 1 + 3 / 4) / 3), "positives are found at ranks 1, 2 and 4"
    assert curve.chance == 0.5
    assert (np.diff(curve.x) >= 0).all()


@pytest.mark.parametrize("value", [0, 1])
def test_one_class_alone_has_no_curve_but_a_reason(value):
    one = np.full(4, value)
    curve = roc(one, np.linspace(0, 1, 4))
    assert curve.area.value is None
    assert ("positive" if value else "negative") in curve.area.reason
    assert not len(curve.x)
    assert (precision_recall(one, np.linspace(0, 1, 4)).area.value is None) == (value == 0)


def test_reliability_counts_bins_and_bounds_them():
    probability = np.repeat([0.05, 0.55, 1.0], [10, 20, 5])
    truth = np.concatenate([np.zeros(10), np.arange(20) < 11, np.ones(5)])
    bins = reliability(truth, probability)
    np.testing.assert_array_equal(bins.count, [10, 20, 5])
    np.testing.assert_allclose(bins.observed, [0, 0.55, 1])
    np.testing.assert_allclose(bins.stated, [0.05, 0.55, 1])
    assert bins.low[0] == pytest.approx(0, abs=1e-9)
    assert bins.high[0] == pytest.approx(0.2775, abs=1e-3), "Wilson's bound for 0 of 10"
    gap = float(np.sum(bins.count * np.abs(bins.stated - bins.observed)) / len(truth))
    assert gap == pytest.approx(calibration_error(probability, truth, bins=10))


def test_shapes_that_do_not_fit_are_refused():
    for function in (roc, precision_recall, reliability):
        with pytest.raises(ValueError, match="give as many"):
            function(np.zeros(3), np.zeros(2))
        with pytest.raises(ValueError, match="and some"):
            function(np.zeros(0), np.zeros(0))
