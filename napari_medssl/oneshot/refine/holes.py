"""Fill holes inside the organ, slice by slice."""

from __future__ import annotations

import numpy as np

from napari_medssl.edit.fill_holes import enclosed
from napari_medssl.oneshot.refine.step import RefineContext, refiners

_LARGEST_HOLE = 0.05  # of the slice's organ area: larger holes are anatomy, not noise


@refiners.register("holes")
def holes(probability: np.ndarray, context: RefineContext) -> np.ndarray:
    """Raise to 1 the pixels of small holes (enclosed in their slice, at most 5 % of the organ's area there)."""
    del context
    for z in np.flatnonzero((probability >= 0.5).any(axis=(1, 2))):
        mask = probability[z] >= 0.5
        probability[z][enclosed(mask, largest=_LARGEST_HOLE * mask.sum())] = 1.0
    return probability
