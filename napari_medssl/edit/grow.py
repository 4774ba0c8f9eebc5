"""Grow an organ by a margin in millimetres."""

from __future__ import annotations

from dataclasses import dataclass

from napari_medssl.edit.distance import distance_steps
from napari_medssl.edit.operation import Operation, Part, Proposal, operations
from napari_medssl.progress import Steps
from napari_medssl.settings import setting


@operations.register("grow")
@dataclass(frozen=True)
class Grow(Operation):
    """Add every voxel whose centre lies within `mm` of the centre of a voxel of the organ.

    Across thick slices nothing is added while `mm` is less than their distance. The way is a straight line: a thin
    organ that may not be overwritten does not stop it. What several organs want goes to the nearest.
    """

    title = "Grow"
    hint = "Adds a margin around the organ."

    mm: float = setting(3.0, "width of the margin in mm", ge=0.01, le=200)
    slice_by_slice: bool = setting(False, "within each slice, without reaching into its neighbours")

    @property
    def reach_mm(self) -> float:
        return self.mm

    def propose(self, part: Part) -> Steps[Proposal]:
        distance = yield from distance_steps(
            part.mask, self.mm, part.spacing_mm, slice_by_slice=self.slice_by_slice, label="growing"
        )
        grown = distance < float("inf")
        return Proposal(grown, -distance)
