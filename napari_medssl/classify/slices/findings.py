"""Runs of slices that show a class, and the slice where it shows most."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from napari_medssl.classify.slices.marks import FloatArray
from napari_medssl.classify.slices.scores import SliceScores


@dataclass(frozen=True)
class Finding:
    """A class on neighbouring slices.

    first, last: slices, both included. peak: the slice of the highest probability. probability, spread: there.
    """

    name: str
    first: int
    last: int
    peak: int
    probability: float
    spread: float


def findings(scores: SliceScores, thresholds: Mapping[str, float], *, gap: int = 1) -> tuple[Finding, ...]:
    """All runs of slices at or above the threshold of their class, the surest first.

    thresholds: of the classes to look for; others are left out. gap: slices below the threshold that a run may hold;
        one noisy slice should not make two findings of one.
    """
    found = [
        finding
        for name, threshold in thresholds.items()
        for finding in _of_class(name, *scores.of(name), threshold=threshold, gap=gap)
    ]
    return tuple(sorted(found, key=lambda f: (-f.probability, f.name, f.first)))


def _of_class(
    name: str, probability: FloatArray, spread: FloatArray, *, threshold: float, gap: int
) -> Iterator[Finding]:
    above = np.flatnonzero(probability >= threshold)
    if not len(above):
        return
    for run in np.split(above, np.flatnonzero(np.diff(above) > gap + 1) + 1):
        first, last = int(run[0]), int(run[-1])
        peak = first + int(probability[first : last + 1].argmax())
        yield Finding(name, first, last, peak, float(probability[peak]), float(spread[peak]))
