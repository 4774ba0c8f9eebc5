"""Grow an organ into what lies in an intensity window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_medssl.edit.distance import distance_steps
from napari_medssl.edit.intensity_window import check_window, inside_window
from napari_medssl.edit.operation import Operation, Part, Proposal, operations
from napari_medssl.edit.pieces import pieces_of
from napari_medssl.progress import Steps
from napari_medssl.settings import setting


@operations.register("grow-range")
@dataclass(frozen=True)
class GrowRange(Operation):
    """Add the voxels in the window, at most `mm` from the organ, that hang together with it.

    Steps go over faces of voxels, through voxels that may be taken: neither through other intensities nor through
    other organs. The window's ends count as inside. What several organs want goes to the nearest.
    """

    title = "Grow into intensity range"
    hint = "Adds neighbouring voxels in the window, up to a distance."
    needs_image = True

    low: float = setting(0.0, "lowest intensity that is added (HU for CT)")
    high: float = setting(0.0, "highest intensity that is added (HU for CT)")
    mm: float = setting(5.0, "farthest distance from the organ in mm", ge=0.01, le=200)
    slice_by_slice: bool = setting(False, "within each slice, without reaching into its neighbours")

    @property
    def reach_mm(self) -> float:
        return self.mm

    def propose(self, part: Part) -> Steps[Proposal]:
        assert part.image is not None  # needs_image
        check_window(self.low, self.high, part.image, part.mask, organ=part.organ)
        distance = yield from distance_steps(
            part.mask, self.mm, part.spacing_mm, slice_by_slice=self.slice_by_slice, label="growing"
        )
        open_ = (distance < np.inf) & part.free & inside_window(part.image, self.low, self.high)
        open_ |= part.mask
        parts = open_ if self.slice_by_slice else open_[None]
        seeds = part.mask if self.slice_by_slice else part.mask[None]
        made = np.concatenate([_reached(o, s) for o, s in zip(parts, seeds, strict=True)])
        return Proposal(made.reshape(part.mask.shape), -distance)


def _reached(open_: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """The pieces of `open_` that hold a seed."""
    pieces, sizes = pieces_of(open_, corners=False)
    keep = np.zeros(len(sizes), bool)
    keep[np.unique(pieces[seeds])] = True
    keep[0] = False
    return np.asarray(keep[pieces])
