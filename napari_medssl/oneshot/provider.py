"""What segmentation asks of whoever owns device and models."""

from __future__ import annotations

from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from napari_medssl.bounded_cache import BoundedCache
from napari_medssl.dense.grid import FeatureGrid
from napari_medssl.models.features import FeatureStack
from napari_medssl.oneshot.tracks import TrackStore
from napari_medssl.progress import Steps
from napari_medssl.volume import Volume

Structures: TypeAlias = BoundedCache[npt.NDArray[np.uint8]]
"""What the recogniser found in scans, kept so that the next organ of a scan costs little."""

STRUCTURES_BYTES = 256 * 2**20


class Carriers(Protocol):
    """The networks that carry masks through a scan, where they compute, and what is kept between runs."""

    @property
    def device(self) -> torch.device: ...

    @property
    def propagator(self) -> nn.Module | None: ...

    @property
    def reviser(self) -> nn.Module | None: ...

    @property
    def recogniser(self) -> nn.Module | None: ...

    @property
    def weights_hash(self) -> str: ...

    @property
    def tracks(self) -> TrackStore: ...

    @property
    def structures(self) -> Structures: ...


class Models(Carriers, Protocol):
    """All models of a segmentation; the engine's jobs are one."""

    def features_steps(self, volume: Volume) -> Steps[FeatureStack]: ...

    def grid_steps(self, volume: Volume, weights: str, *, spacing_mm: float) -> Steps[FeatureGrid]: ...
