"""Rare classes: made rare on purpose, and what is done against it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.intp]


def thin(classes: npt.NDArray[Any], ratio: float, rng: np.random.Generator) -> IntArray:
    """Numbers of the examples that stay when every class but the largest keeps `ratio` times as many as that has.

    classes: (N,). ratio: minority / majority; paper 002 takes 0.025 to 0.15 (S79). A class that is rarer already stays
        as it is; one example of each stays in any case. The result is sorted.
    """
    names, of, counts = np.unique(classes, return_inverse=True, return_counts=True)
    majority = int(counts.argmax())
    kept = []
    for c in range(len(names)):
        mine = np.flatnonzero(of == c)
        wanted = len(mine) if c == majority else min(len(mine), max(1, round(ratio * counts[majority])))
        kept.append(rng.choice(mine, wanted, replace=False))
    return np.sort(np.concatenate(kept)).astype(np.intp)


def mean_resampling(targets: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """(N,) probabilities with which examples are drawn so that each class comes equally often (S86).

    targets: (N, L) 0 or 1. One class each: a class is drawn first, then one of its examples. Several at once: the same,
    with "none of them" as one more class; labels that come together keep doing so, so their counts are equal only as
    far as that allows. Classes without an example are not drawn.
    """
    none = (targets.sum(1, keepdims=True) == 0).astype(float)
    member = np.concatenate([np.asarray(targets, float), none], 1)
    member = member[:, member.any(0)]
    return np.asarray((member / member.sum(0)).mean(1))


def class_weights(targets: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """(L,) N / (L n_c): weights that let every class count as much in the loss; 0 for a class that is not there.

    targets: (N, L) one-hot.
    """
    counts = np.asarray(targets).sum(0)
    there = counts > 0
    weights = np.divide(len(targets), there.sum() * counts, out=np.zeros(len(counts)), where=there)
    return np.asarray(weights, np.float32)


def positive_weights(targets: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """(L,) negatives / positives of each label, for a yes-or-no loss; 1 where one side is empty.

    targets: (N, L) 0 or 1.
    """
    positives = np.asarray(targets).sum(0)
    negatives = len(targets) - positives
    both = (positives > 0) & (negatives > 0)
    weights = np.divide(negatives, positives, out=np.ones(len(positives)), where=both)
    return np.asarray(weights, np.float32)
