"""Restoring an image from what the task left of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from napari_medssl.losses.reconstruction import masked_l1, masked_mse
from napari_medssl.pretext.task import Example
from napari_medssl.train.objective import Objective


class RestoreObjective(Objective):
    """loss(network(batch["image"]), batch["target"], batch["weight"]), for autoencoders of every kind.

    network: image to restored image of the target's shape; it has an `encoder`, which is kept.
    loss: of prediction, target and weight; `masked_mse` or `masked_l1`. A batch without "weight" counts everywhere.
    also: names of further tensors of the batch that the network takes after the image.

    Gives loss and absolute_error, the mean absolute error over the same voxels (the pretext score "MAE" of paper 002,
    Table 4, whatever the training loss; B2-10).
    """

    def __init__(
        self, network: nn.Module, *, loss: Callable[[Tensor, Tensor, Tensor | None], Tensor] = masked_mse,
        also: Sequence[str] = (),
    ) -> None:  # fmt: skip
        super().__init__()
        self.network = network
        self._loss, self._also = loss, tuple(also)

    @property
    def encoder(self) -> Any:  # stored once, in the network, so that no weight is saved twice
        return self.network.encoder

    def restored(self, batch: Example) -> Tensor:
        """The network's image, (B, C, *sides)."""
        image: Tensor = self.network(batch["image"], *(batch[name] for name in self._also))
        return image

    def forward(self, batch: Example) -> dict[str, Tensor]:
        restored, target, weight = self.restored(batch), batch["target"], batch.get("weight")
        return {
            "loss": self._loss(restored, target, weight),
            "absolute_error": masked_l1(restored.detach(), target, weight),
        }
