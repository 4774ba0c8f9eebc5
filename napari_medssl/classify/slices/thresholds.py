"""From which probability on a slice counts, chosen on slices that a head has not learned from."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np

from napari_medssl.classify.slices.calibration import LEAST
from napari_medssl.classify.slices.marks import FloatArray

Rule: TypeAlias = Literal["youden", "f1", "half"]
"""Largest sensitivity + specificity (Youden, 1950), largest F1, or one half whatever the marks."""


def choose_threshold(truth: FloatArray, probability: FloatArray, rule: Rule = "youden") -> float:
    """The threshold of one class by `rule`; one half when there are too few examples to tell.

    truth: (N,) 1, 0, or NaN where unknown. probability: (N,) of slices the model did not learn from (tuning data):
        chosen on the slices a result is reported for, it would flatter the result.

    Between the two neighbouring probabilities that it separates, so that it does not hang on a single slice.

    >>> choose_threshold(np.array([0, 0, 0, 1, 1, 1]), np.array([0.1, 0.2, 0.3, 0.35, 0.6, 0.9]))
    0.325
    """
    known = ~np.isnan(truth) & np.isfinite(probability)
    y, p = truth[known] == 1, probability[known]
    if rule == "half" or min(y.sum(), (~y).sum()) < LEAST:
        return 0.5
    levels = np.unique(p)
    cuts = (levels[1:] + levels[:-1]) / 2
    if not len(cuts):
        return 0.5
    hits = np.array([(p[y] >= cut).sum() for cut in cuts])
    false = np.array([(p[~y] >= cut).sum() for cut in cuts])
    worth = hits / y.sum() - false / (~y).sum() if rule == "youden" else 2 * hits / (hits + false + y.sum())
    best = np.flatnonzero(worth >= worth.max() - 1e-12)
    return round(float(cuts[best[len(best) // 2]]), 6)
