"""Directions an embedding is compared with."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Prototypes(nn.Module):
    """`count` trained directions in `width` dimensions; (B, width) embeddings to (B, count) cosines.

    Embeddings and prototypes are both brought to length 1, and the gradient goes through that. This is the last layer
    of DINO (weight-normalised, scale kept at 1) and the prototypes of SwAV, which sets their length to 1 after each
    step instead: call `renormalise` for that; to first order both move them the same way.
    """

    def __init__(self, width: int, count: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(F.normalize(torch.randn(count, width), dim=1))

    def forward(self, embeddings: Tensor, *, frozen: bool = False) -> Tensor:
        """frozen: the prototypes get a gradient of 0 (not none, which distributed training takes for a mistake)."""
        weight = self.weight.detach() + 0 * self.weight if frozen else self.weight
        with torch.autocast(embeddings.device.type, enabled=False):  # divided by 0.04, half precision is too coarse
            return F.linear(F.normalize(embeddings.to(weight.dtype), dim=1), F.normalize(weight, dim=1))

    @torch.no_grad()
    def renormalise(self) -> None:
        """Set every prototype to length 1, as weight decay and steps change it."""
        self.weight.copy_(F.normalize(self.weight, dim=1))
