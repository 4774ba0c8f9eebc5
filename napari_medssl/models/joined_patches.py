"""The features of several patches joined into one vector, each made short first."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

PATCH_FEATURES = 64
"""Numbers kept of each patch (S69, S70; paper 002, supplement)."""


class JoinedPatches(nn.Module):
    """(B, patches * channels) features, patch after patch, to (B, patches * 64).

    One linear layer to 64 numbers with batch normalisation and ReLU, the same for all patches. The position of a patch
    is known afterwards only by its place in the vector.
    """

    def __init__(self, patches: int, channels: int) -> None:
        super().__init__()
        self.patches, self.width = patches, patches * PATCH_FEATURES
        self.shorten = nn.Linear(channels, PATCH_FEATURES, bias=False)
        self.norm = nn.BatchNorm1d(PATCH_FEATURES)

    def forward(self, features: Tensor) -> Tensor:
        each = features.view(len(features) * self.patches, -1)
        return F.relu(self.norm(self.shorten(each))).view(len(features), self.width)
