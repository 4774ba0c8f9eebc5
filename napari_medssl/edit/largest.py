"""Keep the largest pieces of an organ."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_medssl.edit.each_slice import in_slices
from napari_medssl.edit.operation import Operation, Part, Proposal, operations
from napari_medssl.edit.pieces import pieces_of
from napari_medssl.progress import Progress, Steps
from napari_medssl.settings import setting


@operations.register("largest")
@dataclass(frozen=True)
class Largest(Operation):
    """Take away all pieces but the largest ones. Voxels that touch at a corner are one piece (26 neighbours, 8 within
    a slice). Of pieces of equal size the first in slice order stays."""

    title = "Largest piece"
    hint = "Takes away specks: only the largest connected pieces stay."

    pieces: int = setting(1, "how many pieces stay", ge=1, le=1000)
    at_least_ml: float = setting(0.0, "smaller ranks stay too from this size in ml; 0: they do not", ge=0, le=10_000)
    slice_by_slice: bool = setting(False, "each slice by itself, without looking at its neighbours")

    def propose(self, part: Part) -> Steps[Proposal]:
        voxel_ml = float(np.prod(part.spacing_mm)) / 1000.0

        def keep(mask: np.ndarray) -> np.ndarray:
            return _largest(mask, self.pieces, self.at_least_ml / voxel_ml if self.at_least_ml else np.inf)

        if self.slice_by_slice:
            return Proposal((yield from in_slices(part.mask, keep, label="looking for pieces")))
        yield Progress(0, 1, "looking for pieces")
        return Proposal(keep(part.mask))


def _largest(mask: np.ndarray, count: int, least_voxels: float) -> np.ndarray:
    pieces, sizes = pieces_of(mask, corners=True)
    keep = sizes >= least_voxels - 1e-6  # a size typed in ml may miss a whole voxel by rounding
    keep[np.argsort(-sizes, kind="stable")[:count]] = True
    keep[0] = False
    return np.asarray(keep[pieces])
