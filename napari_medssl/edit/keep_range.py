"""Keep of an organ what lies in an intensity window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_medssl.edit.intensity_window import check_window, inside_window
from napari_medssl.edit.operation import Operation, Part, Proposal, operations
from napari_medssl.progress import Progress, Steps
from napari_medssl.settings import setting


@operations.register("keep-range")
@dataclass(frozen=True)
class KeepRange(Operation):
    """Take away the organ's voxels whose intensity lies outside the window; its ends count as inside."""

    title = "Keep intensity range"
    hint = "Takes away voxels darker or brighter than the window: vessels, fat, air."
    needs_image = True

    low: float = setting(0.0, "lowest intensity that stays (HU for CT)")
    high: float = setting(0.0, "highest intensity that stays (HU for CT)")

    def propose(self, part: Part) -> Steps[Proposal]:
        assert part.image is not None  # needs_image
        check_window(self.low, self.high, part.image, part.mask, organ=part.organ)
        made = np.zeros_like(part.mask)
        for z, mask in enumerate(part.mask):
            if z % 16 == 0:
                yield Progress(z, len(made), "looking at intensities")
            made[z] = mask & inside_window(part.image[z], self.low, self.high)
        return Proposal(made)
