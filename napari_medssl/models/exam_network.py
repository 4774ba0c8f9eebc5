"""A classifier of whole exams: an encoder of slices and a head that looks at all of them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from napari_medssl.models.divided_branches import DividedBranches


class ExamNetwork(nn.Module):
    """(B, S, C, H, W) slices in [0, 1] to (B, L) logits.

    encoder: of slices, (N, C, H, W) to (N, D, h, w). head: of `models.exam_heads`.

    `features` and `decide` are its two halves: with a frozen encoder a slice's features do not depend on which other
    slices were drawn with it (`per_slice`), so they are computed once. The nine branches of divide and teach are
    different: which branch a slice goes to depends on its place among those drawn.
    """

    def __init__(self, encoder: Any, head: nn.Module) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head

    @property
    def per_slice(self) -> bool:
        """Whether a slice has the same features whatever stands beside it."""
        return not isinstance(self.encoder, DividedBranches)

    def features(self, slices: Tensor) -> Tensor:
        """(B, S, C, H, W) slices to (B, S, D, h, w)."""
        if not self.per_slice:
            return torch.stack([self.encoder(exam) for exam in slices])
        found: Tensor = self.encoder(slices.flatten(0, 1))
        return found.view(*slices.shape[:2], *found.shape[1:])

    def decide(self, features: Tensor) -> Tensor:
        """(B, S, D, h, w) features to (B, L) logits."""
        logits: Tensor = self.head(features)
        return logits

    def forward(self, slices: Tensor) -> Tensor:
        return self.decide(self.features(slices))
