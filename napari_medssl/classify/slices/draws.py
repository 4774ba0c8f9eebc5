"""Other draws of the marks, for the spread of an ensemble; and parts of them kept aside, for calibration."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from napari_medssl.classify.slices.marks import FloatArray

IntArray = npt.NDArray[np.intp]

_SCANS = 3  # ours: marked scans from which on scans are drawn as a whole, since slices of one are much alike
_FOLDS = 5


def bootstrap(targets: FloatArray, scan: IntArray, members: int, rng: np.random.Generator) -> IntArray:
    """(1 + M, N) how often each marked slice counts: once each in the first row, as drawn with replacement in others.

    targets: (N, C) 1, 0, NaN. scan: (N,) number of the scan; with three or more, scans are drawn instead of slices.
    What is known as shown and as not shown of a class stays in every draw, so that all of them can be learned from.
    """
    rows = [np.ones(len(targets), np.intp)]
    for _ in range(members):
        counts = _drawn(scan, rng)
        for side in (targets == 1, targets == 0):
            for column in side.T:
                if column.any() and not counts[column].any():
                    counts[rng.choice(np.flatnonzero(column))] += 1
        rows.append(counts)
    return np.stack(rows)


def folds(targets: FloatArray, scan: IntArray) -> Iterator[tuple[IntArray, IntArray]]:
    """Numbers to learn from and numbers kept aside; every slice is kept aside once.

    Whole scans are kept aside when there are two or more, as a head will be asked about others; else every fifth of the
    slices that show the same, as neighbours are.
    """
    names = np.unique(scan)
    group = np.searchsorted(names, scan) if len(names) > 1 else _ranks(targets)
    number = group % min(_FOLDS, int(group.max()) + 1)
    for fold in range(int(number.max()) + 1):
        yield np.flatnonzero(number != fold), np.flatnonzero(number == fold)


def _drawn(scan: IntArray, rng: np.random.Generator) -> IntArray:
    names = np.unique(scan)
    if len(names) >= _SCANS:
        return rng.multinomial(len(names), np.full(len(names), 1 / len(names)))[np.searchsorted(names, scan)]
    return rng.multinomial(len(scan), np.full(len(scan), 1 / len(scan)))


def _ranks(targets: FloatArray) -> IntArray:
    """(N,) the how-many-th of its kind each slice is."""
    _, kind = np.unique(np.nan_to_num(targets, nan=0.5), axis=0, return_inverse=True)
    kind = kind.ravel()
    ranks = np.zeros(len(kind), np.intp)
    for k in np.unique(kind):
        ranks[kind == k] = np.arange((kind == k).sum())
    return ranks
