"""Distances in millimetres to a mask, as far as they matter."""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage

from napari_medssl.edit.box import box_of, widened
from napari_medssl.edit.slabs import slabs
from napari_medssl.progress import Progress, Steps

TOLERANCE_MM = 1e-4
"""Distances that differ by less are equal: voxel sizes are often stored in single precision."""


def distance_steps(
    mask: np.ndarray,
    reach_mm: float,
    spacing_mm: tuple[float, float, float],
    *,
    slice_by_slice: bool = False,
    label: str,
) -> Steps[np.ndarray]:
    """(Z, Y, X) float32: Euclidean distance in mm from each voxel's centre to the nearest centre of the mask.

    It is exact up to `reach_mm` and infinite beyond, and where a slice (or all) has no mask. slice_by_slice: distances
    within each slice. label: what is being done, for the progress.
    """
    distance = np.full(mask.shape, np.inf, np.float32)
    margin = 0 if slice_by_slice else math.floor((reach_mm + TOLERANCE_MM) / spacing_mm[0])
    for inner, outer in slabs(mask.shape, margin):
        yield Progress(inner.start, len(mask), label)
        if margin:
            distance[inner] = _near(mask[outer], reach_mm, spacing_mm)[inner.start - outer.start :][: _len(inner)]
            continue
        for z in range(inner.start, inner.stop):  # no other slice is within reach
            distance[z] = _near(mask[z : z + 1], reach_mm, spacing_mm)[0]
    return distance


def _near(mask: np.ndarray, reach_mm: float, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    distance = np.full(mask.shape, np.inf, np.float32)
    box = box_of(mask)
    if box is not None:
        box = widened(box, reach_mm, spacing_mm, within=_whole(mask))
        near = ndimage.distance_transform_edt(~mask[box], sampling=spacing_mm)
        near[near > reach_mm + TOLERANCE_MM] = np.inf
        distance[box] = near
    return distance


def _whole(mask: np.ndarray) -> tuple[slice, slice, slice]:
    z, y, x = mask.shape
    return slice(0, z), slice(0, y), slice(0, x)


def _len(part: slice) -> int:
    return int(part.stop - part.start)
