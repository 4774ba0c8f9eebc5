"""Scans with two organs, and models made by hand, for tests of the whole way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from napari_medssl.bounded_cache import BoundedCache
from napari_medssl.intensity import window_limits
from napari_medssl.models.encoder import build_encoder
from napari_medssl.models.features import FeatureStack
from napari_medssl.models.slices import make_frame, slice_batch
from napari_medssl.oneshot.provider import STRUCTURES_BYTES, Structures
from napari_medssl.oneshot.tracks import TrackStore
from napari_medssl.progress import Progress, Steps
from napari_medssl.volume import Volume

Scan = tuple[Volume, np.ndarray]


class BrightnessPropagator(nn.Module):
    """Organ is what has the brightness of the organ on the labelled slice, by the posterior channel."""

    crop_size = 48

    def forward(self, inputs: Tensor) -> Tensor:
        return 4 * inputs[:, 6]


@dataclass
class MadeModels:
    """What the segmenter asks an engine for: training-free features and a propagator made by hand."""

    propagator: nn.Module | None = field(default_factory=BrightnessPropagator)
    reviser: nn.Module | None = None
    recogniser: nn.Module | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    weights_hash: str = "made by hand"
    tracks: TrackStore = field(default_factory=TrackStore)
    structures: Structures = field(default_factory=lambda: BoundedCache(STRUCTURES_BYTES))
    encoded: list[str] = field(default_factory=list)

    def features_steps(self, volume: Volume) -> Steps[FeatureStack]:
        encoder = build_encoder("feature-bank", input_size=64)
        frame = make_frame(volume.shape[1:], volume.spacing_mm[1:], 64)
        self.encoded.append(volume.content_hash)
        yield Progress(0, 1, "encoding")
        with torch.inference_mode():
            batch = slice_batch(volume, range(volume.shape[0]), frame, 1, limits=window_limits(volume))
            data = encoder(batch)
        return FeatureStack(data, frame, 4)


@pytest.fixture
def models() -> MadeModels:
    """Models with a propagator."""
    return MadeModels()


@pytest.fixture
def models_without_propagator() -> MadeModels:
    """Models that only have features."""
    return MadeModels(propagator=None)


def _two_organs(*, shift: int = 0, depth: int = 14, seed: int = 0) -> Scan:
    """A body with a bright organ (1) and a darker one (2) on slices 3 to depth - 4; (scan, true labels)."""
    ys, xs = np.ogrid[:64, :64]
    labels = np.zeros((depth, 64, 64), np.uint8)
    body = np.broadcast_to((ys - 32) ** 2 / 1.1 + (xs - 32) ** 2 < 27**2, labels.shape)
    for z in range(3, depth - 3):
        labels[z][(ys - 26 - shift) ** 2 + (xs - 20) ** 2 < 81] = 1
        labels[z][(ys - 36 - shift) ** 2 + (xs - 44) ** 2 < 64] = 2
    image = 10 + 60.0 * body
    image[labels == 1], image[labels == 2] = 190, 125
    image += np.random.default_rng(seed).normal(0, 3, image.shape)
    affine = np.diag([1.2, 1.2, 5.0, 1.0])[:, [2, 1, 0, 3]]
    return Volume(image.astype(np.float32), affine, "MR"), labels


@pytest.fixture
def two_organs() -> Callable[..., Scan]:
    """Maker of scans with two organs: `two_organs(shift=..., depth=..., seed=...)`."""
    return _two_organs
