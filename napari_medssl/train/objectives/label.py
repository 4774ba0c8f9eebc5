"""Predicting a label that the task itself has made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_medssl.losses.float32 import in_float32
from napari_medssl.models.heads import pooled
from napari_medssl.pretext.task import Example
from napari_medssl.train.objective import Objective

Look: TypeAlias = Callable[[Any, Example], Tensor]
"""(encoder, batch) to the features of the batch, as the head takes them."""


def whole(encoder: Any, batch: Example) -> Tensor:
    """(B, D): mean features of batch["image"]."""
    return pooled(encoder(batch["image"]))


def gridded(cells: int) -> Look:
    """A look that keeps where features lie: (B, D * cells * cells), means over a grid on a (B, C, H, W) image."""

    def look(encoder: Any, batch: Example) -> Tensor:
        return F.adaptive_avg_pool2d(encoder(batch["image"]), cells).flatten(1)

    return look


def one_by_one(encoder: Any, batch: Example) -> Tensor:
    """(B, P * D): mean features of each of batch["patches"], (B, P, C, ...), joined in their order."""
    patches = batch["patches"]
    features = pooled(encoder(patches.flatten(0, 1)))
    return features.view(len(patches), -1)


def in_branches(encoder: Any, batch: Example) -> Tensor:
    """(B, D, h, w): what an encoder with a branch for each of batch["patches"] makes of them together."""
    features: Tensor = encoder.patches(batch["patches"])
    return features


class LabelObjective(Objective):
    """Classification of what the task did: logits = head(look(encoder, batch)), against batch["label"].

    loss: "ce", labels (B,) int64 and logits (B, classes); "bce", labels (B, K) of 0 and 1 and logits (B, K), several
    answers at once. look: None takes `whole` for batches with an image and `one_by_one` for those with patches.
    keep: constants stored beside the weights, such as the arrangements that the labels number.

    Gives loss and accuracy, the share of right answers.
    """

    def __init__(
        self,
        encoder: nn.Module,
        head: nn.Module,
        *,
        loss: Literal["ce", "bce"] = "ce",
        look: Look | None = None,
        keep: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head
        self._loss, self._right = _KINDS[loss]
        self._look = look
        for name, value in (keep or {}).items():
            self.register_buffer(name, value)

    def logits(self, batch: Example) -> Tensor:
        """The head's answers, one row for each example."""
        look = self._look or (whole if "image" in batch else one_by_one)
        answers: Tensor = self.head(look(self.encoder, batch))
        return answers

    def forward(self, batch: Example) -> dict[str, Tensor]:
        logits, labels = self.logits(batch), batch["label"]
        right = self._right(logits.detach(), labels)
        return {"loss": self._loss(logits, labels), "accuracy": right.float().mean()}


@in_float32
def _one_answer(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits, labels)


@in_float32
def _many_answers(logits: Tensor, labels: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))


def _best_is_right(logits: Tensor, labels: Tensor) -> Tensor:
    return torch.eq(logits.argmax(1), labels)


def _signs_are_right(logits: Tensor, labels: Tensor) -> Tensor:
    return (logits > 0) == (labels > 0)


_KINDS = {"ce": (_one_answer, _best_is_right), "bce": (_many_answers, _signs_are_right)}
