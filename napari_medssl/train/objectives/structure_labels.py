"""Telling the structures of a slice apart, each data set by its own labels."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_medssl.losses.float32 import in_float32
from napari_medssl.pretext.task import Example
from napari_medssl.train.objective import Objective


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

    The Dice term is that of each structure over all slices together, smoothed, so that small structures weigh as much
    as large ones and those that no slice shows hardly count.
    """
    p = torch.softmax(logits, 1)[:, 1:]
    target = F.one_hot(labels, logits.shape[1]).movedim(-1, 1)[:, 1:].to(p.dtype)
    overlap, total = (p * target).sum((0, 2, 3)), (p + target).sum((0, 2, 3))
    dice = 1 - (2 * overlap + 20) / (total + 20)
    return F.cross_entropy(logits, labels) + dice.mean()
