"""Comparing the two views of every example with all views of the batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor, nn

from napari_medssl.losses.float32 import in_full
from napari_medssl.losses.pairs import cosines, negative_mean, positives
from napari_medssl.models.heads import pooled
from napari_medssl.pretext.task import Example
from napari_medssl.train.distributed import gather
from napari_medssl.train.objective import Objective

PairLoss: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""(N, D) embeddings of two views, row n of one belonging to row n of the other, to a scalar."""


class PairObjective(Objective):
    """loss(projector(mean features of view1), projector(mean features of view2)).

    encoder: of slices or volumes; its features are averaged over all places. projector: (B, D) to (B, E); discarded
    after training. loss: symmetric in its views. schedule: the loss for a share of the run, which then replaces `loss`
    before each step; for temperatures that change with time.

    A batch has view1 and view2, each (B, C, H, W) or (B, C, Z, Y, X). Both go through the networks together, so that
    batch normalisation sees both. With several processes the embeddings of all are compared, and each process has the
    loss of the joined batch.

    Gives loss, positive_cosine (mean similarity of partners, the alignment) and negative_cosine (of all other pairs).
    """

    def __init__(
        self,
        encoder: nn.Module,
        projector: nn.Module,
        loss: PairLoss,
        *,
        schedule: Callable[[float], PairLoss] | None = None,
    ) -> None:
        super().__init__()
        self.encoder, self.projector = encoder, projector
        self._loss, self._schedule = loss, schedule

    def forward(self, batch: Example) -> dict[str, Tensor]:
        both = self.projector(pooled(self.encoder(torch.cat([batch["view1"], batch["view2"]]))))
        # Each view is gathered by itself: joined as one, the partner of a row would not be N rows further on.
        # In full precision before embeddings of other processes are joined.
        z1, z2 = (gather(in_full(z)) for z in both.chunk(2))
        loss = self._loss(z1, z2)
        c = cosines(z1.detach(), z2.detach())
        return {"loss": loss, "positive_cosine": positives(c).mean(), "negative_cosine": negative_mean(c)}

    def begin_step(self, share: float) -> None:
        if self._schedule is not None:
            self._loss = self._schedule(share)
