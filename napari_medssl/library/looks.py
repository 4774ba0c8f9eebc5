"""The look of the slices of a kept scan: from the library's file where it fits the encoder, else encoded."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from napari_medssl.library.keeping import KeptScan
from napari_medssl.library.stored_features import StoredFeatures
from napari_medssl.models.features import FeatureStack
from napari_medssl.oneshot.alignment import slice_summaries
from napari_medssl.progress import Steps
from napari_medssl.volume import Volume


class Encoder(Protocol):
    """The part of `napari_medssl.Engine` that comparing uses."""

    @property
    def weights_hash(self) -> str: ...

    def features_steps(self, volume: Volume) -> Steps[FeatureStack]: ...


def looks_steps(engine: Encoder, scan: KeptScan, stored: StoredFeatures | None) -> Steps[Tensor]:
    """(Z, E) summaries of a kept scan's slices; the stored ones when they are of this encoder."""
    fits = stored is not None and len(stored.summaries) == scan.shape[0]
    if stored is not None and fits and stored.weights_sha256 == engine.weights_hash:
        return torch.from_numpy(stored.summaries).float()
    stack = yield from engine.features_steps(scan.volume())
    return slice_summaries(stack.data)


def stored_steps(engine: Encoder, scan: KeptScan) -> Steps[StoredFeatures]:
    """The look of a kept scan for a file: unit vectors, of which 16 bits keep the similarity to within 1e-3."""
    looks = yield from looks_steps(engine, scan, None)
    return StoredFeatures(engine.weights_hash, looks.half().numpy())
