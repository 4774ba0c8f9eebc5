"""Where along the body the marks of a class lie: how far a height is inside or outside of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_medssl.classify.slices.draws import IntArray
from napari_medssl.classify.slices.marks import FloatArray
from napari_medssl.metrics.classification import auc

_REACH_MM = 60.0  # from which on nothing is farther; 100 gave the same
_PER_MM = 0.1  # log-odds of a mm; 0.03 to 0.2 gave the same
_STEP_MM = 4.0
_LEAST_AUC = 0.65
"""Ours: of heights in scans kept aside. Below it a class lies anywhere, and heights are left out of its scores."""


@dataclass(frozen=True, eq=False)
class HeightProfile:
    """Log-odds of classes by height alone.

    start_mm: (1,) of the first of G heights, 4 mm apart. log_odds: (M, C, G), the first of the M from all marks.
    """

    start_mm: FloatArray
    log_odds: FloatArray

    def logits(self, height_mm: FloatArray) -> FloatArray:
        """(M, Z, C) at (Z,) heights; beyond the ends as at them."""
        last = self.log_odds.shape[2] - 1
        at = np.clip((height_mm - self.start_mm[0]) / _STEP_MM, 0, last)
        low = np.minimum(np.floor(at).astype(int), max(0, last - 1))
        part = (at - low)[:, None]
        by_height = self.log_odds.transpose(0, 2, 1)  # (M, G, C)
        return np.asarray((1 - part) * by_height[:, low] + part * by_height[:, np.minimum(low + 1, last)], np.float32)

    def without(self, classes: npt.NDArray[np.bool_]) -> HeightProfile:
        """The same, but silent on some of the classes, (C,)."""
        return HeightProfile(self.start_mm, np.where(classes[:, None], np.float32(0), self.log_odds))


def learn_profile(height_mm: FloatArray, targets: FloatArray, scan: IntArray, *, draws: IntArray) -> HeightProfile:
    """The distance to the nearest marked slice without a class, less that to the nearest with it, in each scan.

    height_mm: (N,) of the marked slices. targets: (N, C) 1, 0, NaN. scan: (N,) number of the scan. draws: (M, N) how
    often each slice counts.

    A signed distance, positive where the class is: zero half-way between marks that differ, so ten marks say as much
    of its ends as they can, and a class in several pieces stays so. It is cut at 60 mm, which is also the distance
    of a side that is not marked in a scan. The mean is taken over the marked scans, whose organs end at different
    heights. Ours.
    """
    start = np.floor(height_mm.min() - _REACH_MM)
    grid = np.arange(start, height_mm.max() + _REACH_MM + _STEP_MM, _STEP_MM, dtype=np.float32)
    away = np.abs(grid[:, None] - height_mm).astype(np.float32)  # (G, N)
    members = [_mean_over_scans(away, targets, scan, counts) for counts in draws]
    return HeightProfile(np.array([start], np.float32), np.float32(_PER_MM) * np.stack(members))


def lies_anywhere(held_out: FloatArray, targets: FloatArray) -> npt.NDArray[np.bool_]:
    """(C,) classes whose place in other scans says nothing of them.

    held_out: (N, C) log-odds of marked slices by the heights in other scans, NaN where there were none.
    """
    found = np.zeros(targets.shape[1], bool)
    for c in range(targets.shape[1]):
        known = np.isfinite(held_out[:, c]) & np.isfinite(targets[:, c])
        value = auc(targets[known, c].astype(int), held_out[known, c]).value if known.any() else None
        found[c] = value is not None and value < _LEAST_AUC
    return found


def _mean_over_scans(away: FloatArray, targets: FloatArray, scan: IntArray, counts: IntArray) -> FloatArray:
    """(C, G)."""
    total = np.zeros((targets.shape[1], len(away)), np.float32)
    weight = np.zeros((targets.shape[1], 1), np.float32)
    for number in np.unique(scan):
        own = (scan == number) & (counts > 0)
        for c in range(targets.shape[1]):
            sides = [own & (targets[:, c] == side) for side in (1, 0)]
            if any(side.any() for side in sides):
                total[c] += _signed(away, *sides)
                weight[c] += 1
    return np.asarray(total / np.maximum(weight, 1), np.float32)


def _signed(away: FloatArray, shown: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_]) -> FloatArray:
    """(G,) mm."""
    far = np.full(len(away), np.float32(_REACH_MM))
    to_shown = away[:, shown].min(1) if shown.any() else far
    to_other = away[:, other].min(1) if other.any() else far
    return np.asarray(np.clip(to_other - to_shown, -_REACH_MM, _REACH_MM), np.float32)
