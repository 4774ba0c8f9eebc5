"""Smooth the surface of an organ over a distance in millimetres."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_medssl.edit.gaussian import smoothed_steps
from napari_medssl.edit.operation import Operation, Part, Proposal, operations
from napari_medssl.progress import Steps
from napari_medssl.settings import setting

_FAINT = 0.02  # what is fainter is never part of a smoothed organ that kept its volume, but for specks


@operations.register("smooth")
@dataclass(frozen=True)
class Smooth(Operation):
    """Smooth the mask with a Gaussian of standard deviation `mm` and cut it where it is half, or where the organ keeps
    its number of voxels (as nearly as equal values allow).

    Cut at one half, a ball of radius R loses about mm²/R of it and what is much thinner than `mm` vanishes; that is
    why the volume is kept unless told otherwise. Along thick slices a smaller `mm` has no effect. What several organs
    want goes to the one with more of it around. At the scan's border the organ is
    taken to go on as in a mirror.
    """

    title = "Smooth"
    hint = "Rounds the surface: bumps and dents narrower than about twice the mm go."

    mm: float = setting(2.0, "standard deviation of the Gaussian in mm", ge=0.1, le=50)
    keep_volume: bool = setting(True, "the organ keeps its volume; off: it shrinks where it is round")
    slice_by_slice: bool = setting(False, "within each slice, without looking at its neighbours")

    @property
    def reach_mm(self) -> float:
        return 3 * self.mm

    def propose(self, part: Part) -> Steps[Proposal]:
        z, y, x = part.spacing_mm
        spacing = (float("inf") if self.slice_by_slice else z, y, x)
        values = yield from smoothed_steps(part.mask, self.mm, spacing)
        made = values > 0.5
        if self.keep_volume and self.slice_by_slice:
            for at in np.flatnonzero(part.mask.any(axis=(1, 2))):
                made[at] = _cut(values[at], int(np.count_nonzero(part.mask[at])))
        elif self.keep_volume:
            made = _cut(values, int(np.count_nonzero(part.mask)))
        return Proposal(made, values)


def _cut(values: np.ndarray, count: int) -> np.ndarray:
    """The `count` highest values, as nearly as equal values allow."""
    candidates = values[values > _FAINT]
    if len(candidates) <= count:
        return np.asarray(values > _FAINT)
    level = np.partition(candidates, len(candidates) - count)[len(candidates) - count]
    with_level, without = int(np.count_nonzero(candidates >= level)), int(np.count_nonzero(candidates > level))
    return np.asarray(values >= level if with_level - count <= count - without else values > level)
