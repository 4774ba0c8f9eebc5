"""The embeddings of the last batches, first in, first out."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class FeatureQueue(nn.Module):
    """The newest `size` embeddings of length `width`, each of length 1; random directions until it has filled.

    A ring in a buffer with its write position, so that it is part of the state dict.

    Source: He et al., "Momentum Contrast" (2020), section 3.2.
    """

    features: Tensor
    position: Tensor

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.register_buffer("features", F.normalize(torch.randn(size, width), dim=1))
        self.register_buffer("position", torch.zeros((), dtype=torch.long))

    def forward(self) -> Tensor:
        """(size, width) as it is now: a copy, which a later `push` does not change under a waiting backward pass."""
        return self.features.clone()

    @torch.no_grad()
    def push(self, features: Tensor) -> None:
        """Put (B, width) embeddings in place of the oldest ones; of more than `size`, the last ones stay.

        One that is not finite is left out: it would spoil every loss until the queue has turned over.
        """
        size = len(self.features)
        new = F.normalize(features.detach().to(self.features.dtype), dim=1)[-size:]
        places = (self.position + torch.arange(len(new), device=new.device)) % size
        self.features[places] = torch.where(new.isfinite().all(1, keepdim=True), new, self.features[places])
        self.position.copy_((self.position + len(new)) % size)
