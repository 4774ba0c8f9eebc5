"""What a refinement step is: a probability map in, a better one out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from napari_medssl.registry import Registry
from napari_medssl.volume import Volume


@dataclass(frozen=True)
class RefineContext:
    """What a step may look at.

    query: the scan. limits: its intensity window. anchors: slice to (Y, X) mask the user painted there; empty when
    the support is another scan.
    """

    query: Volume
    limits: tuple[float, float]
    anchors: Mapping[int, np.ndarray]


class Refiner(Protocol):
    """(Z, Y, X) float32 foreground probability in [0, 1] to the same; the input may be changed in place."""

    def __call__(self, probability: np.ndarray, context: RefineContext) -> np.ndarray: ...


refiners: Registry[Refiner] = Registry("refinement step")
