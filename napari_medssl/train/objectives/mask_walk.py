"""Carrying a mask along a walk, each step from the answer of the step before."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_medssl.losses.float32 import in_float32
from napari_medssl.models.propagator import assemble
from napari_medssl.pretext.task import Example
from napari_medssl.train.objective import Objective

_inputs = in_float32(assemble)  # histograms do not survive half precision


class MaskWalk(Objective):
    """Mean over the steps of `mask_loss`; each step starts from the network's own prediction, without a gradient."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.encoder: Any = network

    def forward(self, batch: Example) -> dict[str, Tensor]:
        images, masks = batch["images"], batch["masks"]
        carried, losses = masks[:, 0], []
        for t in range(1, masks.shape[1]):
            inputs = _inputs(
                target=images[:, t],
                previous=images[:, t - 1],
                beyond=images[:, t + 1],
                previous_mask=carried,
                support=batch["support"],
                support_mask=batch["support_mask"],
                gap_mm=batch["gap_mm"],
                distance_mm=batch["start_mm"] + t * batch["gap_mm"],
                guide=(batch["guides"][:, t], batch["guides"][:, t + 1]) if "guides" in batch else None,
            )
            logits = self.encoder(inputs.contiguous(memory_format=torch.channels_last))
            losses.append(mask_loss(logits, masks[:, t]))
            carried = torch.sigmoid(logits.detach().float())
        return {"loss": torch.stack(losses).mean()}


@in_float32
def mask_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy plus soft Dice of (B, S, S) logits; the Dice term is smoothed so that empty targets count."""
    ce = F.binary_cross_entropy_with_logits(logits, target)
    p = torch.sigmoid(logits)
    overlap, total = (p * target).sum((1, 2)), (p + target).sum((1, 2))
    return 2 * ce + (1 - (2 * overlap + 30) / (total + 30)).mean()
