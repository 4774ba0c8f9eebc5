"""A linear classifier on frozen features."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from napari_medssl.evaluate.examples import FloatArray, Kind

_ITERATIONS = 1000  # of the quasi-Newton solver; the few fits that need more are good enough by then


def linear_probe(
    train: FloatArray,
    targets: FloatArray,
    test: FloatArray,
    *,
    kind: Kind,
    inverse_penalty: float = 1.0,
    balanced: bool = False,
) -> FloatArray:
    """(M, L) probabilities (or numbers) for `test` (M, D) after fitting `train` (N, D) with `targets` (N, L).

    Logistic regression with an L2 penalty (ridge regression for numbers) on features standardised by the training
    examples. No document gives settings for its linear evaluation (S42); a solver run to its end, instead of SGD with
    augmentation, needs none and gives the same every time. balanced: classes count equally in the loss.

    A label that all training examples share is predicted as they have it.
    """
    scaler = StandardScaler().fit(train)
    x, y = scaler.transform(train), scaler.transform(test)
    if kind == "number":
        return np.asarray(Ridge(alpha=1 / inverse_penalty).fit(x, targets).predict(y), np.float32).reshape(len(y), -1)
    if kind == "one":
        return _logistic(x, targets.argmax(1), y, targets.shape[1], inverse_penalty, balanced)
    columns = [_logistic(x, column.astype(int), y, 2, inverse_penalty, balanced)[:, 1] for column in targets.T]
    return np.stack(columns, 1)


def fit_logistic(
    x: Any, classes: Any, *, inverse_penalty: float, balanced: bool, counts: Any = None
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Logistic regression with an L2 penalty: the classes that are there (K,), their weights (K, D) and biases (K,).

    x: (N, D), N at least 1. classes: (N,) whole numbers. balanced: classes count equally in the loss. counts: (N,) how
    often each example counts; None: once each.

    The softmax of x @ weights.T + biases are the probabilities; for two classes the first has weights 0. A class that
    is alone has weights and bias 0.
    """
    there = np.unique(classes)
    if len(there) == 1:
        return there, np.zeros((1, x.shape[1])), np.zeros(1)
    model = LogisticRegression(C=inverse_penalty, max_iter=_ITERATIONS, class_weight="balanced" if balanced else None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(x, classes, sample_weight=counts)
    weight, bias = model.coef_, model.intercept_
    if len(there) == 2:
        weight, bias = np.stack([0 * weight[0], weight[0]]), np.array([0.0, bias[0]])
    return there, weight, bias


def _logistic(x: Any, classes: Any, y: Any, count: int, inverse_penalty: float, balanced: bool) -> FloatArray:
    out = np.zeros((len(y), count), np.float32)
    there, weight, bias = fit_logistic(x, classes, inverse_penalty=inverse_penalty, balanced=balanced)
    out[:, there] = softmax(y @ weight.T + bias, axis=1)
    return out
