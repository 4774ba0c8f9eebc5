"""What comparing an example with a scan needs of its own scan: features of the labelled slices, the look of all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from napari_medssl.library.example import Example
from napari_medssl.library.keeping import KeptScan
from napari_medssl.library.stored_features import StoredFeatures
from napari_medssl.models.features import FeatureStack
from napari_medssl.models.slices import make_frame, mask_to_frame
from napari_medssl.oneshot.alignment import slice_summaries
from napari_medssl.oneshot.matching import cell_cover
from napari_medssl.progress import Steps
from napari_medssl.volume import Volume

_MOST = 6e4  # float16 ends at 65504


class Encoder(Protocol):
    """The part of `napari_medssl.Engine` that comparing uses."""

    @property
    def weights_hash(self) -> str: ...

    def features_steps(self, volume: Volume) -> Steps[FeatureStack]: ...


@dataclass(frozen=True)
class Signature:
    """One scan of a library under one encoder.

    features: slice to its (D, h, w) features, at least of every labelled slice. summaries: (Z, E) unit vectors.
    size: side of the encoder's input square.
    """

    features: dict[int, Tensor]
    summaries: Tensor
    size: int

    def labelled(self, example: Example) -> tuple[Tensor, Tensor]:
        """(N, D, h, w) features and (N, h, w) share of each cell covered by the organ, on the labelled slices."""
        stack = torch.stack([self.features[z] for z in example.slices]).float()
        _, y, x = example.scan.shape
        frame = make_frame((y, x), example.scan.spacing_mm[1:], self.size)
        grid = (stack.shape[-2], stack.shape[-1])
        return stack, cell_cover(mask_to_frame(example.planes(), frame), grid)


def signature_steps(
    engine: Encoder, scan: KeptScan, examples: Iterable[Example], stored: StoredFeatures | None
) -> Steps[Signature]:
    """The signature of a scan for its examples: the stored one when it is of this encoder and complete, else made."""
    wanted = {z for e in examples for z in e.slices}
    if stored is not None and stored.weights_sha256 == engine.weights_hash and wanted <= set(stored.slices):
        kept = torch.from_numpy(stored.features.astype(np.float32))
        return Signature(
            dict(zip(stored.slices, kept, strict=True)),
            torch.from_numpy(stored.summaries.astype(np.float32)),
            stored.size,
        )
    stack = yield from engine.features_steps(scan.volume())
    return Signature({z: stack.data[z].float() for z in sorted(wanted)}, slice_summaries(stack.data), stack.frame.size)


def stored_steps(engine: Encoder, scan: KeptScan, examples: Iterable[Example]) -> Steps[StoredFeatures | None]:
    """The signature of a scan for a file; None when it exceeds 16 bits, which happens with unusual encoders only."""
    signature = yield from signature_steps(engine, scan, examples, None)
    slices = tuple(sorted(signature.features))
    features = torch.stack([signature.features[z] for z in slices])
    if float(features.abs().max()) > _MOST:
        return None
    return StoredFeatures(
        engine.weights_hash, signature.size, slices, features.half().numpy(), signature.summaries.half().numpy()
    )
