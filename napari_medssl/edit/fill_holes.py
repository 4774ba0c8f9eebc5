"""Fill holes inside an organ."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from napari_medssl.edit.each_slice import in_slices
from napari_medssl.edit.operation import Operation, Part, Proposal, operations
from napari_medssl.edit.pieces import pieces_of
from napari_medssl.progress import Progress, Steps
from napari_medssl.settings import setting


@operations.register("fill-holes")
@dataclass(frozen=True)
class FillHoles(Operation):
    """Fill what the organ encloses: background that reaches the border of the scan over no face of a voxel.

    A hole with another organ in it is filled around that organ. What is open to the scan's border is no hole.
    """

    title = "Fill holes"
    hint = "Fills holes the organ encloses."

    widest_mm: float = setting(
        0.0, "largest hole to fill: diameter in mm of a circle (slices) or ball of its size; 0: any", ge=0, le=1000
    )
    slice_by_slice: bool = setting(True, "holes in a slice; off: only cavities closed on all sides")

    def propose(self, part: Part) -> Steps[Proposal]:
        flat = self.slice_by_slice or part.mask.shape[0] == 1
        largest = _voxels(self.widest_mm, part.spacing_mm[1:] if flat else part.spacing_mm)
        if flat:
            filled = yield from in_slices(part.mask, lambda m: m | enclosed(m, largest=largest), label="filling holes")
        else:
            yield Progress(0, 1, "filling holes")
            filled = part.mask | enclosed(part.mask, largest=largest)
        return Proposal(filled)


def _voxels(diameter_mm: float, spacing_mm: tuple[float, ...]) -> float:
    """Voxels of a ball (three spacings) or circle (two) of this diameter; infinite for 0."""
    if not diameter_mm:
        return math.inf
    unit = math.pi / 6 if len(spacing_mm) == 3 else math.pi / 4
    return float(unit * diameter_mm ** len(spacing_mm) / math.prod(spacing_mm))


def enclosed(mask: np.ndarray, *, largest: float = math.inf) -> np.ndarray:
    """The holes of a mask: pieces of its outside, joined by faces, that do not reach the array's border.

    mask: bool, 2D or 3D. largest: holes of more voxels are left out.
    """
    pieces, sizes = pieces_of(~mask, corners=False)
    hole = sizes <= largest
    hole[0] = False
    for axis in range(mask.ndim):
        for end in (0, -1):
            hole[np.unique(pieces.take(end, axis=axis))] = False
    return np.asarray(hole[pieces])
