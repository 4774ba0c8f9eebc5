"""Smooth the probability over a distance in millimetres."""

from __future__ import annotations

import numpy as np

from napari_medssl.edit.gaussian import smoothed
from napari_medssl.oneshot.refine.step import RefineContext, refiners

SIGMA_MM = 1.0  # about one pixel of abdominal MR: takes jagged edges, leaves adrenals


@refiners.register("smooth")
def smooth(probability: np.ndarray, context: RefineContext) -> np.ndarray:
    """Gaussian smoothing with `SIGMA_MM` along each axis, so thick slices are left alone and thin ones joined."""
    return smoothed(probability, SIGMA_MM, context.query.spacing_mm)
