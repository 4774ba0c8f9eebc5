"""Smooth the probability over a distance in millimetres."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from napari_medssl.oneshot.refine.step import RefineContext, refiners

SIGMA_MM = 1.0  # about one pixel of abdominal MR: takes jagged edges, leaves adrenals


@refiners.register("smooth")
def smooth(probability: np.ndarray, context: RefineContext) -> np.ndarray:
    """Gaussian smoothing with `SIGMA_MM` along each axis, so thick slices are left alone and thin ones joined."""
    sigma = [SIGMA_MM / s for s in context.query.spacing_mm]
    return np.asarray(ndimage.gaussian_filter(probability, [s if s > 0.15 else 0 for s in sigma]), np.float32)
