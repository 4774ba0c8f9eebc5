"""Slices of exams as the network takes them, and their features where those never change."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_medssl.models.exam_heads import AttentionHead, MaxHead
from napari_medssl.models.exam_network import ExamNetwork
from napari_medssl.pretext.scan import Scan, slice_stack, to_float
from napari_medssl.progress import Progress, Steps

IntArray = npt.NDArray[np.intp]

_AT_A_TIME = 1 << 19  # pixels per pass through an encoder without gradients: 8 slices of 256 x 256
_KEPT_BYTES = 1 << 30


def slices_of(scan: Scan, numbers: IntArray, channels: int) -> Tensor:
    """(S, channels, side, side) uint8: slices with their neighbours."""
    return torch.stack([slice_stack(scan, int(z), channels) for z in numbers])


def encode(network: ExamNetwork, slices: Tensor, device: torch.device) -> Steps[Tensor]:
    """(S, D, h, w) float32 features on the CPU of (S, C, side, side) slices, 8-bit or in [0, 1], without gradients.

    Places are averaged at once for heads that look at nothing else, (S, D, 1, 1): features of a large encoder then fit
    into memory for all exams.
    """
    part = max(1, _AT_A_TIME // slices.shape[-1] ** 2)
    pooled = isinstance(network.head, (MaxHead, AttentionHead))
    found = []
    for first in range(0, len(slices), part):
        yield Progress(first, len(slices), "encoding")
        now = slices[first : first + part].to(device)
        with torch.inference_mode():
            features: Any = network.encoder(to_float(now) if now.dtype == torch.uint8 else now)
            found.append((features.mean((2, 3), keepdim=True) if pooled else features).float().cpu())
    return torch.cat(found)  # outside inference mode: autograd may keep what comes of it


class FeatureStore:
    """Features of slices on the CPU, up to 1 GiB; further ones are not kept.

    For one encoder, as long as the scans are there: features are filed by the scan itself and the slice.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[int, int], Tensor] = {}
        self._bytes = 0

    def get(self, scan: Scan, z: int) -> Tensor | None:
        """(D, h, w), or None when it is not here."""
        return self._kept.get((id(scan), z))

    def keep(self, scan: Scan, z: int, features: Tensor) -> None:
        """File a copy where there is room."""
        size = features.numel() * features.element_size()
        if self._bytes + size <= _KEPT_BYTES:
            self._kept[id(scan), z] = features.clone()
            self._bytes += size


class KeptFeatures:
    """Features of the slices of exams with an encoder that stays as it is; each slice is encoded once.

    store: of the same encoder, to be shared with other networks that have it, such as those of other folds.
    """

    def __init__(
        self, network: ExamNetwork, scans: list[Scan], channels: int, device: torch.device,
        store: FeatureStore | None = None,
    ) -> None:  # fmt: skip
        self.network, self.scans, self.channels, self.device = network, scans, channels, device
        self.store = FeatureStore() if store is None else store

    def of(self, exam: int, numbers: IntArray) -> Steps[Tensor]:
        """(S, D, h, w) on the CPU, of the exam with this number."""
        scan = self.scans[exam]
        known = {int(z): self.store.get(scan, int(z)) for z in numbers}
        missing = np.array([z for z, features in known.items() if features is None], np.intp)
        if len(missing):
            found = yield from encode(self.network, slices_of(scan, missing, self.channels), self.device)
            for z, features in zip(map(int, missing), found, strict=True):
                self.store.keep(scan, z, features)
                known[z] = features
        return torch.stack([features for features in known.values() if features is not None])
