"""From raw scores to probabilities that can be believed, by scores of slices that a head has not learned from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit, log_softmax, softmax

from napari_medssl.classify.slices.marks import FloatArray, Kind

Array = npt.NDArray[np.float64]

LEAST = 3  # ours: examples of a class (and of the rest) from which on its scale can be told at all
_TIE = 0.1  # ours: pull of scale and shift towards 1 and 0, in examples; ten marked slices say little about either
_SCALES = (0.05, 20.0)


@dataclass(frozen=True, eq=False)
class Calibration:
    """scale, shift: (C,) of the logits, class by class; 1 and 0 leave them as they are.

    fitted: (C,) whether there were examples enough to fit them.
    """

    scale: FloatArray
    shift: FloatArray
    fitted: npt.NDArray[np.bool_]

    def probability(self, logits: npt.NDArray[np.floating], kind: Kind) -> FloatArray:
        """(..., C) probabilities of (..., C) logits; where a slice shows one class, they sum to 1."""
        scaled = np.asarray(logits, np.float64) * self.scale + self.shift
        return np.asarray(softmax(scaled, axis=-1) if kind == "one" else expit(scaled), np.float32)


def uncalibrated(classes: int) -> Calibration:
    """Logits as they are."""
    return Calibration(np.ones(classes, np.float32), np.zeros(classes, np.float32), np.zeros(classes, bool))


def fit_calibration(logits: FloatArray, targets: FloatArray, kind: Kind) -> Calibration:
    """Scales and shifts under which held-out slices are most likely.

    logits: (N, C) of slices that the model behind them did not see, NaN where there was none.
    targets: (N, C) 1, 0, NaN.

    Several classes: Platt scaling (1999, "Probabilistic outputs for support vector machines", with his targets
    (n + 1) / (n + 2) and 1 / (n + 2) against overconfidence), each class by itself. One class: one temperature for all
    (Guo et al., 2017, https://arxiv.org/abs/1706.04599) and a shift per class. Ours: both are pulled towards no change
    by the weight of a tenth of an example, so that separable data give finite scales.

    The probabilities hold for slices shown in the shares in which they were marked. Unlike `classify.calibrate`, which
    takes tuning people by the dozen, this is made for ten marks: with a shift, and kept from extremes.
    """
    if kind == "one":
        kept = np.isfinite(logits).all(1)
        return _one(logits[kept].astype(np.float64), targets[kept])
    columns = [_platt(logits[:, c].astype(np.float64), targets[:, c]) for c in range(logits.shape[1])]
    scale, shift, fitted = zip(*columns, strict=True)
    return Calibration(np.array(scale, np.float32), np.array(shift, np.float32), np.array(fitted))


def _platt(logits: Array, targets: FloatArray) -> tuple[float, float, bool]:
    known = np.isfinite(targets) & np.isfinite(logits)
    x, y = logits[known], targets[known]
    positive = int((y == 1).sum())
    negative = len(y) - positive
    if min(positive, negative) < LEAST:
        return 1.0, 0.0, False
    goal = np.where(y == 1, (positive + 1) / (positive + 2), 1 / (negative + 2))

    def loss(p: Array) -> float:
        z = np.exp(p[0]) * x + p[1]
        return float(np.sum(np.logaddexp(0, z) - goal * z)) + _TIE * float(p[0] ** 2 + p[1] ** 2)

    found = minimize(loss, np.zeros(2), method="L-BFGS-B", bounds=[tuple(np.log(_SCALES)), (None, None)]).x
    return float(np.exp(found[0])), float(found[1]), True


def _one(logits: Array, targets: FloatArray) -> Calibration:
    classes = logits.shape[1]
    said = (targets == 1).any(1)
    x, y = logits[said], targets[said].argmax(1) if said.any() else np.zeros(0, int)
    counts = np.bincount(y, minlength=classes)
    if (counts >= LEAST).sum() < 2:
        return uncalibrated(classes)

    def loss(p: Array) -> float:
        z = np.exp(p[0]) * x + p[1:]
        return -float(log_softmax(z, axis=1)[np.arange(len(y)), y].sum()) + _TIE * float(p @ p)

    bounds = [tuple(np.log(_SCALES)), *[(None, None)] * classes]
    found = minimize(loss, np.zeros(1 + classes), method="L-BFGS-B", bounds=bounds).x
    scale = np.full(classes, np.exp(found[0]), np.float32)
    return Calibration(scale, found[1:].astype(np.float32), counts >= LEAST)
