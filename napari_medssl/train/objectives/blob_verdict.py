"""Telling blobs of an organ from others."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from napari_medssl.pretext.task import Example
from napari_medssl.train.objective import Objective


class BlobVerdict(Objective):
    """Mean over the blobs of a batch of {"numbers", "organ", "weight"} of weight times cross-entropy.

    Not divided by the batch's weights: batches of small segmentations would then count as much as those of large ones.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.encoder: Any = network

    def forward(self, batch: Example) -> dict[str, Tensor]:
        logits, weight = self.encoder(batch["numbers"]), batch["weight"]
        truth = batch["organ"][..., None].expand_as(logits)
        each = F.binary_cross_entropy_with_logits(logits.float(), truth, reduction="none").mean(-1)
        return {"loss": (each * weight).mean()}
