"""A network that follows another one slowly: its exponential moving average."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn


class MomentumCopy(nn.Module):
    """A copy of `source`, at first with the same weights, that no gradient trains and that `follow` moves.

    Parameters are averaged; buffers (running statistics of batch normalisation) are the copy's own, gathered from what
    it sees, as in the public code of MoCo and BYOL. Copy and averages are in the state dict, so a resumed run goes on
    exactly.
    """

    def __init__(self, source: nn.Module) -> None:
        super().__init__()
        self.module = copy.deepcopy(source).requires_grad_(False)

    @torch.no_grad()
    def forward(self, *inputs: Any) -> Tensor:
        out: Tensor = self.module(*inputs)
        return out

    @torch.no_grad()
    def follow(self, source: nn.Module, momentum: float) -> None:
        """theta <- momentum * theta + (1 - momentum) * source, for every parameter.

        Source: He et al., "Momentum Contrast" (2020), Eq. 2; Grill et al., BYOL (2020), Eq. 1.
        """
        for mine, its in zip(self.module.parameters(), source.parameters(), strict=True):
            mine.lerp_(its, 1 - momentum)


def cosine_momentum(start: float, share: float) -> float:
    """The momentum after this share of the run: from `start` to 1 along half a cosine (BYOL, section 3.2).

    >>> cosine_momentum(0.996, 0.0), cosine_momentum(0.996, 1.0)
    (0.996, 1.0)
    """
    return 1 - (1 - start) * (math.cos(math.pi * share) + 1) / 2
