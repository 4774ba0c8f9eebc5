"""Keeping the target network of BYOL instead of the online one."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from napari_medssl.pretext.task import Example
from napari_medssl.train.objective import Objective
from napari_medssl.train.objectives.byol import ByolObjective


class KeepTarget(Objective):
    """Trains as `byol` does; what is kept of it is its target encoder.

    Source: S77; in the supplement of paper 002 the target transferred better to the liver, the online network to lung
    nodules.
    """

    def __init__(self, byol: ByolObjective) -> None:
        super().__init__()
        self.byol = byol

    @property
    def encoder(self) -> Any:  # stored once, inside, so that no weight is saved twice
        return self.byol.target_encoder.module

    def forward(self, batch: Example) -> dict[str, Tensor]:
        found: dict[str, Tensor] = self.byol(batch)
        return found

    def begin_step(self, share: float) -> None:
        self.byol.begin_step(share)

    def end_step(self) -> None:
        self.byol.end_step()
