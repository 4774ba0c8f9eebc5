"""Calibration error against a plain loop, and the fit against what generated the data."""

from __future__ import annotations

import numpy as np
import pytest

from napari_medssl.metrics.calibration import Reliability, fit_logistic, logit, sigmoid
from napari_medssl.metrics.classification import calibration_error


def _plain_loop(stated: np.ndarray, happened: np.ndarray, bins: int) -> float:
    """Equation 3 of Guo et al. (2017), word by word: sum over bins of |B| / n times |acc(B) - conf(B)|."""
    total = 0.0
    for m in range(bins):
        low, high = m / bins, (m + 1) / bins
        inside = [i for i in range(len(stated)) if low <= stated[i] < high or (m == bins - 1 and stated[i] == 1)]
        if inside:
            accuracy = sum(happened[i] for i in inside) / len(inside)
            confidence = sum(stated[i] for i in inside) / len(inside)
            total += len(inside) / len(stated) * abs(accuracy - confidence)
    return total


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_the_error_is_that_of_the_definition(bins: int) -> None:
    rng = np.random.default_rng(bins)
    stated = np.append(rng.random(300), [0.0, 1.0, 0.5])
    happened = (rng.random(303) < stated**2).astype(float)
    whole, parts = Reliability(bins), Reliability(bins)
    whole.add(stated, happened)
    parts.add(stated[:100], happened[:100])
    parts.add(stated[100:], happened[100:])
    wanted = _plain_loop(stated, happened, bins)
    assert whole.error == pytest.approx(wanted)
    assert parts.error == pytest.approx(wanted)
    assert calibration_error(stated, happened, bins=bins) == pytest.approx(wanted)


def test_shares_and_weights_count() -> None:
    found = Reliability()
    found.add(np.array([0.9]), np.array([0.5]), weight=3)
    found.add(np.array([0.1]), np.array([0.1]))
    assert found.error == pytest.approx(0.75 * 0.4)
    assert found.curve() == [pytest.approx((0.1, 0.1, 0.25)), pytest.approx((0.9, 0.5, 0.75))]
    assert Reliability().error is None


def test_the_fit_finds_the_line_that_made_the_data() -> None:
    rng = np.random.default_rng(0)
    x = np.column_stack([np.ones(20_000), rng.normal(size=20_000), rng.random(20_000)])
    true = np.array([-0.5, 1.4, 2.0])
    y = (rng.random(20_000) < sigmoid(x @ true)).astype(float)
    np.testing.assert_allclose(fit_logistic(x, y), true, atol=0.12)


def test_the_fit_is_a_minimum_also_for_shares_and_weights() -> None:
    rng = np.random.default_rng(1)
    x = np.column_stack([np.ones(50), rng.normal(size=50)])
    y, v = rng.random(50), rng.random(50)
    w = fit_logistic(x, y, weights=v, ridge=0.5)
    slope = x.T @ (v * (1 / (1 + np.exp(-x @ w)) - y)) + 0.5 * w
    np.testing.assert_allclose(slope, 0, atol=1e-4)


def test_what_can_be_told_apart_wholly_stays_finite() -> None:
    x = np.column_stack([np.ones(10), np.r_[-np.ones(5), np.ones(5)]])
    w = fit_logistic(x, np.r_[np.zeros(5), np.ones(5)])
    assert np.isfinite(w).all()
    assert w[1] > 1
    with pytest.raises(ValueError, match="N >= 1"):
        fit_logistic(np.zeros((0, 2)), np.zeros(0))


def test_log_odds_and_back() -> None:
    np.testing.assert_allclose(sigmoid(logit(np.array([0.2, 0.5, 0.9]))), [0.2, 0.5, 0.9])
    assert np.isfinite(logit(np.array([0.0, 1.0]))).all()
    assert sigmoid(np.array([-1e4, 1e4])).tolist() == [0, 1]
