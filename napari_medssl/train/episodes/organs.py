"""Where the organs of a label map lie along z."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_ENOUGH_PX = 20  # less of an organ in a slice is a rim that nobody would label


def organ_areas(labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.intp]:
    """(Z, 256) pixels of each label value in each slice."""
    return np.stack([np.bincount(plane.ravel(), minlength=256) for plane in labels])


def organ_extents(areas: npt.NDArray[np.intp]) -> dict[int, npt.NDArray[np.intp]]:
    """Label value to the ascending slices with at least 20 pixels of it; organs on one slice alone are left out."""
    found = {int(k): np.flatnonzero(areas[:, k] >= _ENOUGH_PX) for k in np.flatnonzero(areas.sum(0)) if k}
    return {k: zs for k, zs in found.items() if len(zs) >= 2}
