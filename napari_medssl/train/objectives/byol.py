"""BYOL and SimSiam: predict one view's embedding from the other's, without negatives."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from napari_medssl.losses.cosine import cosine_regression
from napari_medssl.models.heads import pooled
from napari_medssl.models.momentum import MomentumCopy, cosine_momentum
from napari_medssl.pretext.task import Example
from napari_medssl.train.objective import Objective
from napari_medssl.train.objectives.spread import spread


class ByolObjective(Objective):
    """The predictor tells from each view what a slowly following target network makes of the other view.

    encoder: of slices or volumes, features averaged over all places. projector: (B, D) to (B, E). predictor: (B, E) to
    (B, E), without which the embedding collapses (thesis 2.2.3.2). momentum: share of itself the target keeps at the
    first step; it rises to 1 along half a cosine.

    A batch has view1 and view2, (B, C, H, W) or (B, C, Z, Y, X). The loss is the sum over both directions of 2 - 2 cos.
    Each image has a loss of its own, so processes exchange nothing but gradients.

    Gives loss and spread of the online embeddings (0: collapsed, 1: spread evenly).

    Source: Grill et al., "Bootstrap Your Own Latent" (2020), Eqs. 1 and 2, section 3.
    """

    def __init__(
        self, encoder: nn.Module, projector: nn.Module, predictor: nn.Module, *, momentum: float = 0.996
    ) -> None:
        super().__init__()
        self.encoder, self.projector, self.predictor = encoder, projector, predictor
        self.target_encoder, self.target_projector = MomentumCopy(encoder), MomentumCopy(projector)
        self._start = self._momentum = momentum

    def forward(self, batch: Example) -> dict[str, Tensor]:
        views = batch["view1"], batch["view2"]
        z1, z2 = (self.projector(pooled(self.encoder(view))) for view in views)
        with torch.no_grad():
            t1, t2 = (self.target_projector(pooled(self.target_encoder(view))) for view in views)
        loss = cosine_regression(self.predictor(z1), t2) + cosine_regression(self.predictor(z2), t1)
        return {"loss": loss, "spread": spread(z1)}

    def begin_step(self, share: float) -> None:
        self._momentum = cosine_momentum(self._start, share)

    def end_step(self) -> None:
        self.target_encoder.follow(self.encoder, self._momentum)
        self.target_projector.follow(self.projector, self._momentum)


class SimSiamObjective(Objective):
    """BYOL whose target is the online network itself, with the gradient stopped.

    Arguments and batch as of `ByolObjective`. The loss is the mean over both directions of 2 - 2 cos, that is 2 plus
    twice the loss of the paper, whose minimum is -1.

    Gives loss and spread of the embeddings (0: collapsed, 1: spread evenly).

    Source: Chen and He, "Exploring Simple Siamese Representation Learning" (2021), Eqs. 1-4.
    """

    def __init__(self, encoder: nn.Module, projector: nn.Module, predictor: nn.Module) -> None:
        super().__init__()
        self.encoder, self.projector, self.predictor = encoder, projector, predictor

    def forward(self, batch: Example) -> dict[str, Tensor]:
        z1, z2 = (self.projector(pooled(self.encoder(batch[view]))) for view in ("view1", "view2"))
        loss = cosine_regression(self.predictor(z1), z2) + cosine_regression(self.predictor(z2), z1)
        return {"loss": loss / 2, "spread": spread(z1)}
