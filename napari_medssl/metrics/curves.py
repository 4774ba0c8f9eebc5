"""Curves behind the numbers: ROC, precision and recall, stated against observed frequency."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn import metrics as sk

from napari_medssl.metrics.measure import Measure

Array = npt.NDArray[np.float64]

RELIABILITY_BINS = 10
_Z = 1.959964  # of a 95 % interval


@dataclass(frozen=True)
class Curve:
    """x, y: (n,) points; empty where the curve is not defined. area: under it, or None with the reason.

    chance: what the area is for a score that knows nothing.
    """

    x: Array
    y: Array
    area: Measure
    chance: float


@dataclass(frozen=True)
class Reliability:
    """Bins of stated probability that hold examples: (n,) each.

    stated: mean probability. observed: share of examples for which it was so. low, high: 95 % interval of that.
    count: examples.
    """

    stated: Array
    observed: Array
    low: Array
    high: Array
    count: npt.NDArray[np.intp]


def roc(truth: npt.NDArray[Any], score: npt.NDArray[Any]) -> Curve:
    """Sensitivity (y) over 1 - specificity (x), for every threshold; truth: (N,) 0 or 1, score: (N,), any scale."""
    truth, score = _checked(truth, score)
    if (reason := _one_sided(truth)) is not None:
        return Curve(np.zeros(0), np.zeros(0), Measure(None, f"no ROC curve: {reason}"), 0.5)
    x, y, _ = sk.roc_curve(truth, score)
    return Curve(x, y, Measure(float(sk.auc(x, y))), 0.5)


def precision_recall(truth: npt.NDArray[Any], score: npt.NDArray[Any]) -> Curve:
    """Precision (y) over recall (x), recall growing. The area is the average precision, the sum of steps and not of
    trapezoids, which would promise what no threshold gives (Davis and Goadrich, 2006); chance is the prevalence."""
    truth, score = _checked(truth, score)
    prevalence = float(truth.mean())
    if not truth.any():
        return Curve(
            np.zeros(0), np.zeros(0), Measure(None, f"no recall: none of {len(truth)} is positive"), prevalence
        )
    y, x, _ = sk.precision_recall_curve(truth, score)
    return Curve(x[::-1], y[::-1], Measure(float(sk.average_precision_score(truth, score))), prevalence)


def reliability(truth: npt.NDArray[Any], probability: npt.NDArray[Any], *, bins: int = RELIABILITY_BINS) -> Reliability:
    """How often it was so among examples of about equal probability; bins of equal width, the empty ones left out.

    truth: (N,) 0 or 1. probability: (N,) in [0, 1]. Intervals are Wilson's (1927), which hold for few examples too.
    """
    truth, probability = _checked(truth, probability)
    number = np.minimum((probability * bins).astype(int), bins - 1)
    count = np.bincount(number, minlength=bins)
    there = count > 0
    n = count[there]
    stated = np.bincount(number, weights=probability, minlength=bins)[there] / n
    observed = np.bincount(number, weights=truth, minlength=bins)[there] / n
    middle = (observed + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * np.sqrt(observed * (1 - observed) / n + _Z**2 / (4 * n**2))
    return Reliability(stated, observed, middle - half, middle + half, n)


def _checked(truth: npt.NDArray[Any], score: npt.NDArray[Any]) -> tuple[Array, Array]:
    truth, score = np.asarray(truth, np.float64), np.asarray(score, np.float64)
    if not len(truth) or truth.shape != score.shape or truth.ndim != 1:
        raise ValueError(f"{truth.shape} true classes and {score.shape} predictions; give as many, and some")
    return truth, score


def _one_sided(truth: Array) -> str | None:
    if 0 < truth.sum() < len(truth):
        return None
    return f"all {len(truth)} examples are {'positive' if truth.any() else 'negative'}"
