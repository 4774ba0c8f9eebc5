"""What a refinement step is: a probability map in, a better one out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from napari_medssl.registry import Registry
from napari_medssl.volume import Volume

REACH_MM = 16.0
"""How far steps may look: they are run on the box of what is not zero, widened by this."""


@dataclass(frozen=True)
class RefineContext:
    """What a step may look at.

    query: the scan, or the part of it around the organ. limits: its intensity window. anchors: slice to (Y, X) mask
    the user painted there; empty when the support is another scan.
    """

    query: Volume
    limits: tuple[float, float]
    anchors: Mapping[int, np.ndarray]


class Refiner(Protocol):
    """(Z, Y, X) float32 foreground probability in [0, 1] to the same; the input may be changed in place.

    What a step says about a voxel must not depend on voxels farther than `REACH_MM` that are zero.
    """

    def __call__(self, probability: np.ndarray, context: RefineContext) -> np.ndarray: ...


refiners: Registry[Refiner] = Registry("refinement step")
