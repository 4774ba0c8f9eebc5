"""The order of cubes and, for each place, what else was done to its cube."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_medssl.losses.float32 import in_float32
from napari_medssl.losses.multi_label import multi_label_cross_entropy
from napari_medssl.models.heads import mlp
from napari_medssl.models.joined_patches import JoinedPatches
from napari_medssl.pretext.task import Example
from napari_medssl.train.objective import Objective
from napari_medssl.train.objectives.label import one_by_one

_HIDDEN = 1024


class RubikObjective(Objective):
    """Joint classification of batch["patches"]: their order, and flags of each place.

    Logits of the order (B, classes) are held against batch["label"]; logits of each flag (B, patches) against
    batch[flag]. The loss is order_weight times the cross-entropy of the order plus, for each flag, its weight times the
    cross-entropy of its answers. The head of the order has two hidden layers of 1024; a flag's head has one, because
    deeper ones collapse (S71).

    orders: (classes, patches) of the task, stored beside the weights. flags: name in the batch to weight.

    Gives loss, accuracy (of the order), and for each flag "<flag>_accuracy".

    Source: Zhuang et al., 2019, and Zhu et al., 2020; paper 002, Eq. 4-8, whose weights are 1 in its code (B2-05);
    there the sum is halved without the masks, which Adam does not notice.
    """

    def __init__(
        self,
        encoder: nn.Module,
        channels: int,
        orders: Tensor,
        *,
        flags: Mapping[str, float],
        order_weight: float = 1.0,
    ) -> None:
        super().__init__()
        classes, patches = orders.shape
        self.encoder = encoder
        self.joined = JoinedPatches(patches, channels)
        self.order = mlp([self.joined.width, _HIDDEN, _HIDDEN, classes], norm=False)
        self.flags = nn.ModuleDict({name: mlp([self.joined.width, _HIDDEN, patches], norm=False) for name in flags})
        self.register_buffer("orders", orders)
        self._weights, self._order_weight = dict(flags), order_weight

    def logits(self, batch: Example) -> Tensor:
        """(B, classes): which order the cubes are in, as the classes of batch["label"]."""
        answers: Tensor = self.order(self.joined(one_by_one(self.encoder, batch)))
        return answers

    def forward(self, batch: Example) -> dict[str, Tensor]:
        joined = self.joined(one_by_one(self.encoder, batch))
        order = self.order(joined)
        found = {
            "loss": self._order_weight * _cross_entropy(order, batch["label"]),
            "accuracy": torch.eq(order.detach().argmax(1), batch["label"]).float().mean(),
        }
        for name, weight in self._weights.items():
            answers = self.flags[name](joined)
            found["loss"] = found["loss"] + weight * multi_label_cross_entropy(answers, batch[name])
            found[f"{name}_accuracy"] = ((answers.detach() > 0) == (batch[name] > 0.5)).float().mean()
        return found


@in_float32
def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits, labels)
