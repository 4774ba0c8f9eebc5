"""How good predicted classes and their probabilities are; what a set of examples cannot tell is None with a reason."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from napari_medssl.metrics.measure import Measure, mean_measure

Array = npt.NDArray[Any]

_BINS = 15  # of the calibration error, as Guo et al. (2017)


def binary_scores(
    truth: Array, probability: Array, *, threshold: float = 0.5, guess: Array | None = None
) -> dict[str, Measure]:
    """Every measure of a yes-or-no label.

    truth: (N,) 0 or 1. probability: (N,) of 1. threshold: from which on the answer is yes. guess: (N,) the answers 0
    or 1, where not all were given by one threshold.

    Returns accuracy, balanced accuracy, precision, recall (the same as sensitivity), F1, sensitivity, specificity, AUC,
    Brier score and expected calibration error. With examples of one class alone there is no AUC, no balanced accuracy
    and only one of sensitivity and specificity: these are None (thesis 3 prints AUC for such folds). Precision is None
    when nothing was called positive. Accuracy alone says little when classes are rare (001:1442).

    Raises ValueError when there is no example.
    """
    truth, probability = _checked(truth, probability)
    guess = (probability >= threshold).astype(int) if guess is None else np.asarray(guess).astype(int)
    sensitivity, specificity = _recall(truth, guess, 1), _recall(truth, guess, 0)
    return {
        "accuracy": Measure(float(np.mean(truth == guess))),
        "balanced accuracy": _balanced([sensitivity, specificity]),
        "precision": _precision(truth, guess, 1),
        "recall": sensitivity,
        "f1": _f1(truth, guess, 1),
        "sensitivity": sensitivity,
        "specificity": specificity,
        "auc": auc(truth, probability),
        "brier": Measure(float(np.mean((probability - truth) ** 2))),
        "ece": Measure(calibration_error(probability, truth)),
    }


def class_scores(truth: Array, probability: Array) -> dict[str, Measure]:
    """Every measure of one class out of C.

    truth: (N,) 0 to C - 1. probability: (N, C), rows sum to 1.

    Precision, recall, F1 and AUC are means over classes (AUC: each class against the rest); classes without an example
    are left out of them, with a reason. Specificity is such a mean too. The Brier score is the sum over classes, from 0
    to 2 (Brier, 1950); the calibration error is of the class that was chosen.
    """
    truth, probability = _checked(truth, probability)
    guess = probability.argmax(1)
    classes = range(probability.shape[1])
    one_hot = np.eye(len(classes))[truth]
    recalls = [_recall(truth, guess, c) for c in classes]
    recall = mean_measure(recalls)
    chosen = probability[np.arange(len(truth)), guess]
    return {
        "accuracy": Measure(float(np.mean(truth == guess))),
        "balanced accuracy": _balanced(recalls),
        "precision": mean_measure(_precision(truth, guess, c) for c in classes if c in truth),
        "recall": recall,
        "f1": mean_measure(_f1(truth, guess, c) for c in classes if c in truth),
        "sensitivity": recall,
        "specificity": mean_measure(_recall((truth != c).astype(int), (guess != c).astype(int), 1) for c in classes),
        "auc": mean_measure(auc((truth == c).astype(int), probability[:, c]) for c in classes),
        "brier": Measure(float(np.mean(((probability - one_hot) ** 2).sum(1)))),
        "ece": Measure(calibration_error(chosen, (guess == truth).astype(int))),
    }


def auc(truth: Array, score: Array) -> Measure:
    """Area under the ROC curve: the chance that a positive scores higher than a negative; ties count half.

    truth: (N,) 0 or 1. score: (N,), any scale. None when only one class is there: no number would mean anything.
    The rank form, because a bootstrap asks for it thousands of times.
    """
    positives = int(np.sum(truth == 1))
    negatives = len(truth) - positives
    if not positives or not negatives:
        which = "positive" if positives else "negative"
        return Measure(None, f"AUC is not defined: all {len(truth)} examples are {which}")
    ranks = rankdata(score)[np.asarray(truth) == 1].sum()
    return Measure(float((ranks - positives * (positives + 1) / 2) / (positives * negatives)))


def calibration_error(probability: Array, correct: Array, *, bins: int = _BINS) -> float:
    """Expected calibration error: mean gap of stated probability and frequency, in bins of equal width.

    probability: (N,) in [0, 1]. correct: (N,) 0 or 1, whether what it was stated for is so.
    """
    number = np.minimum((np.asarray(probability) * bins).astype(int), bins - 1)
    gap = np.bincount(number, weights=np.asarray(probability) - np.asarray(correct), minlength=bins)
    return float(np.abs(gap).sum() / len(number))


def _checked(truth: Array, probability: Array) -> tuple[Array, Array]:
    truth, probability = np.asarray(truth).astype(int), np.asarray(probability, np.float64)
    if not len(truth) or len(truth) != len(probability):
        raise ValueError(f"{len(truth)} true classes and {len(probability)} predictions; give as many, and some")
    return truth, probability


def _recall(truth: Array, guess: Array, label: int) -> Measure:
    there = truth == label
    if not there.any():
        return Measure(None, f"no example of class {label}")
    return Measure(float(np.mean(guess[there] == label)))


def _precision(truth: Array, guess: Array, label: int) -> Measure:
    called = guess == label
    if not called.any():
        return Measure(None, f"nothing was called class {label}")
    return Measure(float(np.mean(truth[called] == label)))


def _f1(truth: Array, guess: Array, label: int) -> Measure:
    there, called = truth == label, guess == label
    if not (there.any() or called.any()):
        return Measure(None, f"class {label} is neither there nor called")
    return Measure(float(2 * np.sum(there & called) / (np.sum(there) + np.sum(called))))


def _balanced(recalls: list[Measure]) -> Measure:
    """Mean recall of the classes that are there; with one class alone it would only be another name for accuracy."""
    there = [r for r in recalls if r.value is not None]
    return mean_measure(there) if len(there) > 1 else Measure(None, "all examples are of one class")
