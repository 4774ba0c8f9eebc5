"""In-context matching: prototypes of the organs in one slice find them in another."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_medssl.losses.float32 import in_float32
from napari_medssl.oneshot.matching import cell_cover, cell_prototypes, match_logits
from napari_medssl.pretext.task import Example
from napari_medssl.train.objective import Objective


class OrganMatching(Objective):
    """Trains an encoder through the prototype matching it is used with: mean loss of the batch's episodes. Ours."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder: Any = encoder

    def forward(self, batch: Example) -> dict[str, Tensor]:
        slices = torch.cat((batch["support"], batch["query"]))
        features = self.encoder(slices.contiguous(memory_format=torch.channels_last))
        support, query = features.chunk(2)
        losses = [
            episode_loss(
                episode_logits(support[i], batch["support_masks"][i, :count], query[i]), batch["query_masks"][i, :count]
            )
            for i, count in enumerate(batch["count"].tolist())
        ]
        return {"loss": torch.stack(losses).mean()}


@in_float32
def episode_logits(support: Tensor, masks: Tensor, query: Tensor) -> Tensor:
    """Foreground logits (K, h, w) of the query (D, h, w), given the support (D, h, w) and its masks (K, S, S)."""
    cover = cell_cover(masks, (support.shape[-2], support.shape[-1]))
    return torch.cat([match_logits(cell_prototypes(support, c), query[None]) for c in cover])


@in_float32
def episode_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Balanced cross-entropy plus soft Dice of (K, h, w) logits against (K, S, S) masks, at twice the cell grid."""
    size = (2 * logits.shape[-2], 2 * logits.shape[-1])
    up = F.interpolate(logits[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]
    target = F.interpolate(masks[:, None], size=size, mode="area")[:, 0]
    weight = 1 + 4 * target
    ce = (F.binary_cross_entropy_with_logits(up, target, reduction="none") * weight).mean()
    p = torch.sigmoid(up)
    overlap, total = (p * target).sum((1, 2)), (p + target).sum((1, 2))
    dice = 1 - (2 * overlap + 20) / (total + 20)
    return ce + dice.mean()
