"""What is trained: networks and a loss in one module, and the encoder that is kept of them."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from napari_medssl.pretext.task import Example


class Objective(nn.Module):
    """Everything a method trains or carries along (teachers, queues and running means as buffers), and its loss.

    The state dict is the whole state of the method, so that a run can go on from it exactly.
    encoder: the network that is kept after training; its `config` builds it again. Methods with a teacher may point to
    either network.
    """

    encoder: Any

    def forward(self, batch: Example) -> dict[str, Tensor]:
        """A prepared batch to {"loss": scalar, further scalars to be logged}; only the loss carries a gradient."""
        raise NotImplementedError

    def begin_step(self, share: float) -> None:
        """Called before each optimiser step with the share of the run that is done, in [0, 1); for schedules."""

    def end_step(self) -> None:
        """Called after each optimiser step; for moving averages."""
