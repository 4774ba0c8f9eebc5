"""Where organs lie: boxes of voxels, found slice by slice."""

from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np

from napari_medssl.progress import Progress, Steps

Box = tuple[slice, slice, slice]
_SLICES_PER_STEP = 16


def box_of(mask: np.ndarray) -> Box | None:
    """The smallest box that holds every true voxel of (Z, Y, X) `mask`; None when there is none."""
    sides = [np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    if not len(sides[0]):
        return None
    z, y, x = (slice(int(s[0]), int(s[-1]) + 1) for s in sides)
    return z, y, x


def boxes_steps(
    labels: np.ndarray, values: Collection[int], *, low: int = 0, high: int | None = None
) -> Steps[dict[int, Box]]:
    """The box of each label of (Z, Y, X) `labels` on slices low to high - 1; labels that are not there are left out."""
    found: dict[int, Box] = {}
    high = len(labels) if high is None else high
    for z in range(low, high):
        if (z - low) % _SLICES_PER_STEP == 0:
            yield Progress(z - low, high - low, "finding the organs")
        for value in values:
            hit = labels[z] == value
            if hit.any():
                y, x = (np.flatnonzero(hit.any(axis=axis)) for axis in (1, 0))
                here = (slice(z, z + 1), slice(int(y[0]), int(y[-1]) + 1), slice(int(x[0]), int(x[-1]) + 1))
                found[value] = joined(found.get(value), here)
    return found


def joined(one: Box | None, other: Box) -> Box:
    """The smallest box around two."""
    if one is None:
        return other
    z, y, x = (slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(one, other, strict=True))
    return z, y, x


def widened(box: Box, reach_mm: float, spacing_mm: tuple[float, float, float], *, within: Box) -> Box:
    """The box with room for `reach_mm` on every side, at least a voxel, as far as `within` goes."""
    sides = []
    for side, step, limit in zip(box, spacing_mm, within, strict=True):
        room = max(1, math.ceil(reach_mm / step))
        sides.append(slice(max(limit.start, side.start - room), min(limit.stop, side.stop + room)))
    z, y, x = sides
    return z, y, x
