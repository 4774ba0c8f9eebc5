"""Boolean operations between an organ and other labels, of the same map or of another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from napari_medssl.edit.box import Box, box_of, boxes_steps, joined
from napari_medssl.edit.operation import Operation, Part, Proposal, operations
from napari_medssl.errors import SettingsError
from napari_medssl.progress import Progress, Steps
from napari_medssl.settings import setting


@operations.register("combine")
@dataclass(frozen=True)
class Combine(Operation):
    """Union, intersection or difference of an organ A with labels B.

    B is taken from the second label map when there is one, else from the map of A. Labels of one map never overlap, so
    there only the union makes sense: A gets B's voxels, and B is named, so it is overwritten.
    """

    title = "Combine with"
    hint = "Union, intersection or difference with another organ or another layer."
    takes_other = True
    one_organ = True

    how: Literal["union", "intersection", "difference"] = setting(
        "union", "union: A and B; intersection: what both have; difference: A without B"
    )
    labels: tuple[int, ...] = setting((), "labels that make up B; none: every label of the other map")

    def also(self, labels: np.ndarray, other: np.ndarray | None) -> Steps[Box | None]:
        if self.how != "union":
            return None
        if not self.labels:
            yield Progress(0, 1, "finding the organs")
            return None if other is None else box_of(other != 0)
        boxes = yield from boxes_steps(labels if other is None else other, self.labels)
        around: Box | None = None
        for box in boxes.values():
            around = joined(around, box)
        return around

    def propose(self, part: Part) -> Steps[Proposal]:
        yield Progress(0, 1, "combining")
        if part.other is None:
            self._check_same_map(part)
        source = part.labels if part.other is None else part.other
        b = np.isin(source, self.labels) if self.labels else source != 0
        if self.how == "intersection":
            return Proposal(part.mask & b)
        if self.how == "difference":
            return Proposal(part.mask & ~b)
        return Proposal(part.mask | b, takes=self.labels if part.other is None else ())

    def _check_same_map(self, part: Part) -> None:
        if self.how != "union":
            raise SettingsError(
                f"labels of one map never overlap, so the {self.how} with one of them changes nothing worth having; "
                "choose another layer (another mask) to take it with, or how=union"
            )
        if not self.labels or part.organ in self.labels:
            raise SettingsError(
                f"name the labels to join to organ {part.organ}, others than itself (labels=2), "
                "or choose another layer (another mask) to take them from"
            )
