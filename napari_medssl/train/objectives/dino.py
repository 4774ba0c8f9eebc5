"""DINO: a student follows the clusters of its own slow teacher."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from napari_medssl.losses.dino import dino, moved_centre
from napari_medssl.models.heads import pooled
from napari_medssl.models.momentum import MomentumCopy, cosine_momentum
from napari_medssl.models.prototypes import Prototypes
from napari_medssl.pretext.task import Example
from napari_medssl.train.distributed import gather_plain
from napari_medssl.train.objective import Objective
from napari_medssl.train.objectives.spread import spread


class DinoObjective(Objective):
    """The student tells from each view how the teacher spreads the other view over the prototypes.

    encoder: of slices or volumes, features averaged over all places. projector: (B, D) to (B, width). width,
    prototypes: of the last layer, which compares directions. momentum: share of itself the teacher keeps at the first
    step; it rises to 1 along half a cosine. teacher_temperature: at the start and after the share `warm` of the run, a
    straight line between. centre_momentum: of the running mean of the teacher's scores. still: share of the run in
    which the prototypes do not learn.

    A batch has view1 and view2, (B, C, H, W) or (B, C, Z, Y, X). Two views of full size, as the published ablation's
    smallest setting; the small crops of the full method are left out.

    The encoder that is kept is the teacher's, the better one all through training (section 5.2 of the paper).

    Gives loss, spread of the student's embeddings (0: collapsed, 1: spread evenly) and sharpness, the mean of the
    teacher's largest probability: 1 / prototypes when it tells nothing.

    Source: Caron et al., "Emerging Properties in Self-Supervised Vision Transformers" (2021), algorithm 1, section 3.
    """

    centre: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        projector: nn.Module,
        *,
        width: int = 256,
        prototypes: int = 4096,
        momentum: float = 0.996,
        teacher_temperature: tuple[float, float] = (0.04, 0.07),
        warm: float = 0.3,
        student_temperature: float = 0.1,
        centre_momentum: float = 0.9,
        still: float = 0.01,
    ) -> None:
        super().__init__()
        self.student_encoder, self.student_projector = encoder, projector
        self.student_prototypes = Prototypes(width, prototypes)
        self.teacher_encoder, self.teacher_projector = MomentumCopy(encoder), MomentumCopy(projector)
        self.teacher_prototypes = MomentumCopy(self.student_prototypes)
        self.register_buffer("centre", torch.zeros(prototypes))
        self._start = self._momentum = momentum
        self._temperatures, self._warm = teacher_temperature, warm
        self._temperature, self._student_temperature = teacher_temperature[0], student_temperature
        self._centre_momentum, self._still = centre_momentum, still
        self._frozen = still > 0

    @property
    def encoder(self) -> Any:
        """The teacher's encoder."""
        return self.teacher_encoder.module

    def forward(self, batch: Example) -> dict[str, Tensor]:
        views = batch["view1"], batch["view2"]
        z1, z2 = (self.student_projector(pooled(self.student_encoder(view))) for view in views)
        s1, s2 = (self.student_prototypes(z, frozen=self._frozen) for z in (z1, z2))
        with torch.no_grad():
            t1, t2 = (self._taught(view) for view in views)
        loss = (self._loss(s1, t2) + self._loss(s2, t1)) / 2
        sharpness = ((t1 - self.centre) / self._temperature).softmax(1).amax(1).mean()
        if self.training:
            seen = gather_plain(torch.cat([t1, t2]))
            self.centre.copy_(moved_centre(self.centre, seen, momentum=self._centre_momentum))
        return {"loss": loss, "spread": spread(z1), "sharpness": sharpness}

    def begin_step(self, share: float) -> None:
        self._momentum = cosine_momentum(self._start, share)
        low, high = self._temperatures
        self._temperature = low + (high - low) * (min(1.0, share / self._warm) if self._warm else 1.0)
        self._frozen = share < self._still

    def end_step(self) -> None:
        self.teacher_encoder.follow(self.student_encoder, self._momentum)
        self.teacher_projector.follow(self.student_projector, self._momentum)
        self.teacher_prototypes.follow(self.student_prototypes, self._momentum)

    def _taught(self, view: Tensor) -> Tensor:
        """(B, prototypes) scores of the teacher."""
        scores: Tensor = self.teacher_prototypes(self.teacher_projector(pooled(self.teacher_encoder(view))))
        return scores

    def _loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        return dino(
            student,
            teacher,
            self.centre.clone(),
            student_temperature=self._student_temperature,
            teacher_temperature=self._temperature,
        )
