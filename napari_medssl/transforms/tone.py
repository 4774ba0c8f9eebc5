"""Random brightness, contrast, gamma and tone of 8-bit slices, put together in one table of 256 intensities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_KNOTS = 7


@dataclass(frozen=True)
class ToneRanges:
    """How far intensities may change.

    brightness, contrast: b draws a factor between 1 - b and 1 + b. gamma: exponents between 1 / g and g (1: none).
    curve: largest share of a random curve in the tone curve, which makes one MR contrast look like another; 0: none.
    chance: probability that brightness and contrast change at all.
    """

    brightness: float = 0.0
    contrast: float = 0.0
    gamma: float = 1.0
    curve: float = 0.0
    chance: float = 1.0


def draw_tone_table(rng: np.random.Generator, ranges: ToneRanges, *, mean: float) -> np.ndarray:
    """(256,) float32 in [0, 1]: the new intensity of every 8-bit one. mean: of the slice, in [0, 1], for the contrast.

    In order: curve, gamma, brightness, contrast about the mean. Being pointwise they commute with the resampling that
    follows (but for the clipping to [0, 1], which comes first here). Air stays near 0 under curve and gamma.
    """
    grey = np.linspace(0.0, 1.0, 256)
    table = grey
    if ranges.curve > 0:
        share = rng.uniform(0.0, ranges.curve)
        knots = rng.random(_KNOTS)
        knots[0] = 0.0
        table = (1 - share) * table + share * np.interp(grey, np.linspace(0.0, 1.0, _KNOTS), knots)
    if ranges.gamma > 1:
        table = table ** np.exp(rng.uniform(-1.0, 1.0) * np.log(ranges.gamma))
    if rng.random() < ranges.chance:
        brightness = rng.uniform(max(0.0, 1 - ranges.brightness), 1 + ranges.brightness)
        contrast = rng.uniform(max(0.0, 1 - ranges.contrast), 1 + ranges.contrast)
        centre = brightness * float(np.interp(mean, grey, table))
        table = centre + contrast * (brightness * table - centre)
    return np.clip(table, 0.0, 1.0).astype(np.float32)
