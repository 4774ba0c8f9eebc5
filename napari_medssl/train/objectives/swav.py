"""SwAV: the clusters of one view are predicted from the other."""

from __future__ import annotations

from torch import Tensor, nn

from napari_medssl.losses.swav import sinkhorn, swapped_prediction
from napari_medssl.models.heads import pooled
from napari_medssl.models.prototypes import Prototypes
from napari_medssl.pretext.task import Example
from napari_medssl.train.distributed import gather
from napari_medssl.train.objective import Objective
from napari_medssl.train.objectives.spread import spread


class SwavObjective(Objective):
    """Assignments to prototypes, of equal size over the gathered batch, predicted from the other view.

    encoder: of slices or volumes, features averaged over all places. projector: (B, D) to (B, width). width,
    prototypes: number and length of the clusters' directions, whose length is set to 1 before each step. sharpness,
    rounds: of the assignment. still: share of the run in which the prototypes do not learn.

    A batch has view1 and view2, (B, C, H, W) or (B, C, Z, Y, X). Small crops and the queue of the published method are
    left out. Without the queue there should be no more prototypes than images in the batch of all processes, or a fair
    share is less than an image.

    Gives loss, spread of the embeddings (0: collapsed, 1: spread evenly) and used, the share of prototypes that are the
    first choice of some image: an upper bound is the batch over their number.

    Source: Caron et al., "Unsupervised Learning of Visual Features by Contrasting Cluster Assignments" (2020), section
    3 and appendix A; guide 001 names it.
    """

    def __init__(
        self,
        encoder: nn.Module,
        projector: nn.Module,
        *,
        width: int = 128,
        prototypes: int = 64,
        temperature: float = 0.1,
        sharpness: float = 0.05,
        rounds: int = 3,
        still: float = 0.01,
    ) -> None:
        super().__init__()
        self.encoder, self.projector = encoder, projector
        self.prototypes = Prototypes(width, prototypes)
        self._temperature, self._sharpness, self._rounds = temperature, sharpness, rounds
        self._still, self._frozen = still, still > 0

    def forward(self, batch: Example) -> dict[str, Tensor]:
        z1, z2 = (self.projector(pooled(self.encoder(batch[view]))) for view in ("view1", "view2"))
        s1, s2 = (gather(self.prototypes(z, frozen=self._frozen)) for z in (z1, z2))
        loss = swapped_prediction(s1, s2, temperature=self._temperature, sharpness=self._sharpness, rounds=self._rounds)
        chosen = sinkhorn(s1, sharpness=self._sharpness, rounds=self._rounds).argmax(1)
        used = loss.new_zeros(s1.shape[1]).index_fill(0, chosen, 1.0).mean()
        return {"loss": loss, "spread": spread(z1), "used": used}

    def begin_step(self, share: float) -> None:
        self._frozen = share < self._still
        self.prototypes.renormalise()
