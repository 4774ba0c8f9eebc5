"""Two views through one network, and a loss over the embeddings of the whole batch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from napari_medssl.losses.float32 import in_full
from napari_medssl.models.heads import pooled
from napari_medssl.pretext.task import Example
from napari_medssl.train.distributed import gather
from napari_medssl.train.objective import Objective
from napari_medssl.train.objectives.spread import spread


class JointObjective(Objective):
    """loss(z1, z2) of the projected mean features of view1 and view2, with the statistics of the gathered batch.

    encoder: of slices or volumes, features averaged over all places. projector: (B, D) to (B, E); discarded after
    training. loss: two (B, E) tensors to a scalar. shuffled: put the E features into a new order for each batch, the
    same in both views; for losses that look at groups of features.

    A batch has view1 and view2, (B, C, H, W) or (B, C, Z, Y, X); each goes through the networks by itself, so that
    batch normalisation sees one view at a time, as in the public code of Barlow Twins and VICReg.

    Gives loss and spread (0: collapsed, 1: spread evenly).
    """

    def __init__(
        self,
        encoder: nn.Module,
        projector: nn.Module,
        loss: Callable[[Tensor, Tensor], Tensor],
        *,
        shuffled: bool = False,
    ) -> None:
        super().__init__()
        self.encoder, self.projector = encoder, projector
        self._loss, self._shuffled = loss, shuffled

    def forward(self, batch: Example) -> dict[str, Tensor]:
        z1, z2 = (gather(self._embedded(batch[view])) for view in ("view1", "view2"))
        if self._shuffled:
            order = torch.randperm(z1.shape[1]).to(z1.device)
            z1, z2 = z1[:, order], z2[:, order]
        return {"loss": self._loss(z1, z2), "spread": spread(z1)}

    def _embedded(self, view: Tensor) -> Tensor:
        z: Tensor = self.projector(pooled(self.encoder(view)))
        return in_full(z)  # before it is joined with those of other processes
