"""Whether stated probabilities come true, and the straight line in log-odds that mends them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
BINS = 15
"""Bins of equal width, as Guo et al. (2017, arXiv:1706.04599)."""
_ROUNDS = 50


class Reliability:
    """Stated values beside what happened, in bins of equal width; fed in parts, so that no scan must stay in memory."""

    def __init__(self, bins: int = BINS) -> None:
        self._count, self._stated, self._happened = np.zeros(bins), np.zeros(bins), np.zeros(bins)

    def add(self, stated: Array, happened: Array, *, weight: float = 1.0) -> None:
        """stated: (N,) in [0, 1]. happened: (N,) 0 or 1, or a share in [0, 1]. weight: how much each of them counts."""
        stated, happened = np.asarray(stated, np.float64).ravel(), np.asarray(happened, np.float64).ravel()
        n = len(self._count)
        number = np.minimum((stated * n).astype(int), n - 1)
        self._count += weight * np.bincount(number, minlength=n)
        self._stated += weight * np.bincount(number, weights=stated, minlength=n)
        self._happened += weight * np.bincount(number, weights=happened, minlength=n)

    @property
    def count(self) -> float:
        """How many were added, by weight."""
        return float(self._count.sum())

    @property
    def error(self) -> float | None:
        """Expected calibration error, Guo et al. (2017), equation 3: the mean over all that was added of the gap
        between what was stated and what happened in its bin, in [0, 1]; None when nothing was added."""
        if not self.count:
            return None
        return float(np.abs(self._stated - self._happened).sum() / self.count)

    def curve(self) -> list[tuple[float, float, float]]:
        """(mean stated, mean of what happened, share of all) of every bin that holds something."""
        used = self._count > 0
        count = self._count[used]
        shares = count / self.count if self.count else count
        columns = (self._stated[used] / count, self._happened[used] / count, shares)
        return [(float(a), float(b), float(c)) for a, b, c in zip(*columns, strict=True)]


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * np.asarray(x))))


def logit(p: Array, *, least: float = 1e-3) -> Array:
    """log(p / (1 - p)), with p kept `least` away from 0 and 1."""
    p = np.clip(np.asarray(p, np.float64), least, 1 - least)
    return np.asarray(np.log(p / (1 - p)))


def fit_logistic(features: Array, target: Array, *, weights: Array | None = None, ridge: float = 1.0) -> Array:
    """Coefficients w (D,) for which sigmoid(features @ w) is likeliest to have given the targets.

    Platt's scaling (1999) with more than one feature. features: (N, D), with a column of ones for a constant.
    target: (N,) 0 or 1, or a share in [0, 1]. weights: (N,), how much each row counts. ridge: strength of a Gaussian
    prior around 0, in rows; it keeps a column without any spread from growing.

    Newton's method, halving a step that makes it worse. Raises ValueError when there is no row.
    """
    x, y = np.asarray(features, np.float64), np.asarray(target, np.float64)
    if x.ndim != 2 or not len(x) or len(x) != len(y):
        raise ValueError(f"features of shape {x.shape} and targets of shape {y.shape}; give (N, D) and (N,), N >= 1")
    v = np.ones(len(y)) if weights is None else np.asarray(weights, np.float64)
    w = np.zeros(x.shape[1])
    loss = _loss(x, y, v, w, ridge)
    for _ in range(_ROUNDS):
        p = sigmoid(x @ w)
        slope = x.T @ (v * (p - y)) + ridge * w
        curvature = (x * (v * p * (1 - p))[:, None]).T @ x + ridge * np.eye(len(w))
        step = np.linalg.solve(curvature, slope)
        while (new := _loss(x, y, v, w - step, ridge)) > loss and np.abs(step).max() > 1e-9:
            step = step / 2
        w, gained, loss = w - step, loss - new, new
        if gained <= 1e-9 * abs(loss):
            break
    return w


def _loss(x: Array, y: Array, v: Array, w: Array, ridge: float) -> float:
    z = x @ w
    return float((v * (np.logaddexp(0, z) - y * z)).sum() + 0.5 * ridge * (w @ w))
