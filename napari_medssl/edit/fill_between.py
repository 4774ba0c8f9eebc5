"""Fill the slices between those that have an organ, by interpolating its shape."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal

import numpy as np
from scipy import ndimage

from napari_medssl.edit.operation import Operation, Part, Proposal, operations
from napari_medssl.errors import SettingsError
from napari_medssl.progress import Progress, Steps
from napari_medssl.settings import setting

Spacing2 = tuple[float, float]


@operations.register("fill-between")
@dataclass(frozen=True)
class FillBetween(Operation):
    """Shape-based interpolation: signed distances to the outline, linear from slice to slice, cut at zero.

    Source: Raya and Udupa, IEEE TMI 1990 (doi 10.1109/42.52980). Ours: distances are exact and in mm instead of
    chamfer distances in pixels, and the two outlines are first moved so that their centres of mass lie on the line
    between them, where that makes them overlap more: an oblique organ then keeps its thickness.

    A slice is made from the nearest ones below and above. Before the first and after the last nothing is added.
    """

    title = "Fill between slices"
    hint = "Makes missing slices of the organ from their neighbours."
    looks_beyond = True

    keys: Literal["labelled", "painted"] = setting(
        "labelled", "from all slices that have the organ, or from those you painted alone, redoing the ones between"
    )

    def propose(self, part: Part) -> Steps[Proposal]:
        keys = self._keys(part)
        made, score = part.mask.copy(), np.zeros(part.mask.shape, np.float32)
        low, high = part.wanted
        for below, above in pairwise(keys):
            between = Between(part.mask[below], part.mask[above], (part.spacing_mm[1], part.spacing_mm[2]))
            for z in range(max(low, below + 1), min(high, above)):
                yield Progress(z, len(made), "filling slices")
                score[z] = between.at((z - below) / (above - below))
                made[z] = score[z] > 0
        return Proposal(made, score)

    def _keys(self, part: Part) -> list[int]:
        there = [int(z) for z in np.flatnonzero(part.mask.any(axis=(1, 2)))]
        if self.keys == "painted":
            keys = [z for z in there if z in part.painted]
        else:
            low, high = part.wanted
            redone = range(low, high) if part.chosen else range(0)
            keys = [z for z in there if z not in redone or z in part.painted]
        if len(keys) < 2:
            which = "painted" if self.keys == "painted" else "labelled"
            raise SettingsError(
                f"organ {part.organ} is {which} on {len(keys)} of the slices that may be used; "
                "filling between slices needs two: label it on one more"
            )
        return keys


class Between:
    """Outlines between two (Y, X) masks, neither empty. spacing_mm: along Y, X."""

    def __init__(self, below: np.ndarray, above: np.ndarray, spacing_mm: Spacing2) -> None:
        self._shape = below.shape
        self._window = _window(below | above)
        self._masks = (below[self._window], above[self._window])
        self._spacing = spacing_mm
        self._shift = self._best_shift()
        room = int(np.ceil(np.abs(self._shift)).max()) + 1  # what moves in from outside must be known
        self._room = room

    def at(self, share: float) -> np.ndarray:
        """(Y, X) float32 signed distance in mm of the outline `share` of the way up; above 0 inside.

        What is far from both outlines is -inf.
        """
        below, above = self._distances
        mixed = (1 - share) * _moved(below, share * self._shift) + share * _moved(above, (share - 1) * self._shift)
        inner = slice(self._room, -self._room)
        whole = np.full(self._shape, -np.inf, np.float32)
        whole[self._window] = mixed[inner, inner]
        return whole

    @cached_property
    def _distances(self) -> tuple[np.ndarray, np.ndarray]:
        below, above = (signed_distance(np.pad(m, self._room), self._spacing) for m in self._masks)
        return below, above

    def _best_shift(self) -> np.ndarray:
        """(2,) voxels from the centre of the lower to that of the upper outline; 0 when it does not make them overlap
        more: where a part of the organ begins, the other parts stay in place."""
        below, above = self._masks
        shift = np.subtract(ndimage.center_of_mass(above), ndimage.center_of_mass(below))
        room = int(np.ceil(np.abs(shift)).max()) + 1
        moved = _moved(np.pad(below, room).astype(np.float32), shift) > 0.5
        gained = np.count_nonzero(moved & np.pad(above, room)) > np.count_nonzero(below & above)
        return shift if gained else np.zeros(2)


def signed_distance(mask: np.ndarray, spacing_mm: Spacing2) -> np.ndarray:
    """(Y, X) distance in mm to the outline, positive inside, negative outside.

    The outline runs half a pixel from the centres it separates; with pixels that are not square, half their mean.
    mask: bool, with at least a pixel inside and one outside.
    """
    half = math.fsum(spacing_mm) / 4
    inside = ndimage.distance_transform_edt(mask, sampling=spacing_mm)
    outside = ndimage.distance_transform_edt(~mask, sampling=spacing_mm)
    return np.asarray(np.where(mask, inside - half, half - outside))


def _moved(array: np.ndarray, shift: np.ndarray) -> np.ndarray:
    if not shift.any():
        return array
    return np.asarray(ndimage.shift(array, shift, order=1, mode="nearest"))


def _window(mask: np.ndarray) -> tuple[slice, slice]:
    y, x = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return slice(int(y[0]), int(y[-1]) + 1), slice(int(x[0]), int(x[-1]) + 1)
