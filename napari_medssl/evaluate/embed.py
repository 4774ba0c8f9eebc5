"""Frozen features: every slice encoded once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_medssl.engine.device import DevicePolicy
from napari_medssl.evaluate.examples import Examples, FloatArray
from napari_medssl.models.heads import pooled
from napari_medssl.pretext.scan import Scan, slice_stack, to_float
from napari_medssl.progress import Progress, Steps


def embed_examples(encoder: Any, scans: Sequence[Scan], examples: Examples, policy: DevicePolicy) -> Steps[FloatArray]:
    """(N, D) float32: the mean feature of each slice; for exams (N, 2 D), mean and largest over their slices.

    encoder: on the policy's device. A slice that several examples share is encoded once.
    """
    sets = list(zip(examples.scan.tolist(), examples.slices, strict=True))
    places = sorted({(i, int(z)) for i, chosen in sets for z in chosen})
    features = yield from embed_slices(encoder, scans, places, policy)
    row = {place: n for n, place in enumerate(places)}
    gathered = [features[[row[i, int(z)] for z in chosen]] for i, chosen in sets]
    if not examples.bags:
        return np.concatenate(gathered)
    return np.stack([np.concatenate([g.mean(0), g.max(0)]) for g in gathered])


def embed_slices(
    encoder: Any, scans: Sequence[Scan], places: Sequence[tuple[int, int]], policy: DevicePolicy
) -> Steps[FloatArray]:
    """(N, D) float32 mean features of the slices at `places`: (number of the scan, slice)."""
    parts = []
    for first in range(0, len(places), policy.batch_size):
        yield Progress(first, len(places), "encoding")
        part = places[first : first + policy.batch_size]
        with policy.running():
            features = pooled(encoder(policy.send(stack(scans, part, encoder.in_slices))))
        parts.append(features.float().cpu().numpy())
    return np.concatenate(parts)


def stack(scans: Sequence[Scan], places: Sequence[tuple[int, int]], channels: int) -> Tensor:
    """(B, channels, Y, X) float32 in [0, 1]: slices with their neighbours."""
    return to_float(torch.stack([slice_stack(scans[i], z, channels) for i, z in places]))
