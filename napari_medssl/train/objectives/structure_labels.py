"""Telling the structures of a slice apart, each data set by its own labels."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_medssl.losses.float32 import in_float32
from napari_medssl.pretext.task import Example
from napari_medssl.train.objective import Objective

_SMOOTH = 1.0


class StructureLabels(Objective):
    """Cross-entropy plus soft Dice among the channels of the data set a slice comes from, averaged over the slices."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.encoder: Any = network

    def forward(self, batch: Example) -> dict[str, Tensor]:
        logits = self.encoder(batch["slices"].contiguous(memory_format=torch.channels_last))
        losses = []
        for number, group in enumerate(self.encoder.structures):
            members = batch["group"] == number
            if members.any():
                part = structure_loss(logits[members][:, self.encoder.channels(group)], batch["labels"][members].long())
                losses.append(part * members.sum())
        return {"loss": torch.stack(losses).sum() / len(logits)}


@in_float32
def structure_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """(B, 1 + N, S, S) logits, background first, against (B, S, S) labels 0..N.

    The Dice term is that of each structure over all slices together, averaged over the structures that any of them
    shows, so that small ones weigh as much as large ones. Those that none shows are left to the cross-entropy: a
    smoothed Dice of nothing presses harder on a small structure's few pixels than its own slices pull, and gallbladder,
    oesophagus and adrenals were never learned with it.
    """
    p = torch.softmax(logits, 1)[:, 1:]
    target = F.one_hot(labels, logits.shape[1]).movedim(-1, 1)[:, 1:].to(p.dtype)
    overlap, total, area = (x.sum((0, 2, 3)) for x in (p * target, p + target, target))
    missed = 1 - (2 * overlap + _SMOOTH) / (total + _SMOOTH)
    shown = (area > 0).to(p.dtype)
    return F.cross_entropy(logits, labels) + (missed * shown).sum() / shown.sum().clamp(min=1)
