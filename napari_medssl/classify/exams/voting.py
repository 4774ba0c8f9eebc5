"""What several planes say together."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_SUREST = 0.999  # accuracies count as at most this: a perfect plane on a few exams must not silence the others


def vote_weights(accuracy: Array, *, classes: int = 2) -> npt.NDArray[np.float64]:
    """(P, L) weights of P planes for each label: not negative, with the sum 1 over planes.

    accuracy: (P, L), measured on exams that are neither trained on nor reported (B3-39). classes: of which one is
    right; 2 for yes or no.

    w = max(0, ln(acc / (1 - acc)) + ln(classes - 1)), divided by its sum. Thesis Eq. 3.2 prints the logarithm alone,
    which is negative for accuracies below one half and has any sum, although the text asks for neither (B3-36). For
    more classes, where guessing is right less often than half of the time, the second term moves the zero to
    1 / classes, as SAMME does (Zhu et al., 2009; ours). When no plane is better than guessing all count alike.

    >>> vote_weights(np.array([[0.883], [0.860], [0.843]])).round(3).ravel().tolist()
    [0.366, 0.329, 0.305]
    """
    clipped = np.clip(np.asarray(accuracy, float), 1 / classes, _SUREST)
    odds = np.maximum(0.0, np.log(clipped / (1 - clipped)) + np.log(classes - 1))
    total = odds.sum(0, keepdims=True)
    even = np.full_like(odds, 1 / len(odds))
    return np.asarray(np.divide(odds, total, out=even, where=total > 1e-12))


def vote(probability: Array, weights: Array) -> npt.NDArray[np.float64]:
    """(N, L) weighted means of (P, N, L) probabilities, H_j = sum_i w_i f_i (thesis Eq. 3.1).

    A plane that an exam lacks is NaN there: the weights of the others are made to sum to 1 again (all alike when those
    are all 0). An exam without any plane is NaN.
    """
    there = ~np.isnan(probability)
    used = np.where(there, weights[:, None, :], 0.0)
    none = used.sum(0, keepdims=True) <= 0
    used = np.where(none, there.astype(float), used)
    total = used.sum(0)
    summed = np.where(there, used * np.nan_to_num(probability), 0.0).sum(0)
    return np.asarray(np.divide(summed, total, out=np.full(summed.shape, np.nan), where=total > 0))
