"""Channels on one scale: what a usual value of each is, and how far values usually lie from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_medssl.errors import VolumeError
from napari_medssl.explore.cells import Floats

_TAILS = (1.0, 99.0)  # percentiles beyond which values are cut; ours: metal and padding reach far, organs do not
_FARTHEST = 5.0  # units; a channel that is awake in one cell of a hundred would else outweigh all others there


@dataclass(frozen=True, eq=False)
class Standard:
    """A robust z-score of every channel: cut to the usual range, less the mean, over the standard deviation.

    low, high, mean, scale: (C,) float32. scale is 1 / deviation, and 0 for a constant channel, which thus drops out.
    """

    low: Floats
    high: Floats
    mean: Floats
    scale: Floats

    def of(self, vectors: Floats) -> Floats:
        """(..., C) float32 of (..., C) vectors."""
        return (np.clip(vectors, self.low, self.high) - self.mean) * self.scale


def fit_standard(vectors: Floats) -> Standard:
    """The standard of (N, C) vectors; statistics in float64 of the values between the 1st and 99th percentile.

    A channel that is constant but for its tails keeps its full range, shrunk so that no value lies more than 5 units
    from the mean. Raises VolumeError when all vectors are equal.
    """
    full_low, full_high = vectors.min(0), vectors.max(0)
    low, high = np.percentile(vectors, _TAILS, axis=0).astype(np.float32)
    sparse = high <= low
    low, high = np.where(sparse, full_low, low), np.where(sparse, full_high, high)
    cut = np.clip(vectors, low, high)
    mean = cut.mean(0, dtype=np.float64)
    deviation = cut.std(0, dtype=np.float64)
    varies = (full_high > full_low) & (deviation > 0)
    if not varies.any():
        raise VolumeError(
            "all feature vectors are equal: nothing can be told apart. Is the scan empty here, or the mask one cell?"
        )
    reach = np.maximum(high - mean, mean - low) / _FARTHEST
    scale = np.where(varies, 1.0 / np.where(varies, np.maximum(deviation, reach), 1.0), 0.0)
    return Standard(low, high, mean.astype(np.float32), scale.astype(np.float32))
