"""Shrink an organ by a margin in millimetres."""

from __future__ import annotations

from dataclasses import dataclass

from napari_medssl.edit.distance import distance_steps
from napari_medssl.edit.operation import Operation, Part, Proposal, operations
from napari_medssl.progress import Steps
from napari_medssl.settings import setting


@operations.register("shrink")
@dataclass(frozen=True)
class Shrink(Operation):
    """Take away every voxel whose centre lies within `mm` of the centre of a voxel that is not the organ's.

    The opposite of growing what surrounds the organ. The border of the scan (or of the slices chosen) is no surface:
    an organ that leaves the scan keeps its cut face.
    """

    title = "Shrink"
    hint = "Takes a margin off the organ's surface."

    mm: float = setting(3.0, "width of the margin in mm", ge=0.01, le=200)
    slice_by_slice: bool = setting(False, "within each slice, without looking at its neighbours")

    @property
    def reach_mm(self) -> float:
        return 0.0  # a voxel beyond the organ's box is all it needs: the box is always that much wider

    def propose(self, part: Part) -> Steps[Proposal]:
        distance = yield from distance_steps(
            ~part.mask, self.mm, part.spacing_mm, slice_by_slice=self.slice_by_slice, label="shrinking"
        )
        return Proposal(part.mask & (distance == float("inf")))
