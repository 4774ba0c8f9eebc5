"""Divide and teach: the slices of an exam are dealt out to nine branches, each of which sees its own share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from napari_medssl.models.nine_branches import BRANCHES, STRIDE, NineBranches


def divide(slices: int, parts: int = BRANCHES) -> tuple[int, ...]:
    """How many slices each part gets, first part first: consecutive shares that differ by at most one.

    Source: DIVFRAM, thesis Alg. 3.3. As printed, n = ceil(N_S / (9 - i + 1)) runs past the end (36 slices would become
    104); here n = ceil((N_S - dealt) / (9 - i + 1)) (B3-23). With fewer slices than parts the last ones get none
    (B3-24).

    >>> divide(30), divide(5)
    ((4, 4, 4, 3, 3, 3, 3, 3, 3), (1, 1, 1, 1, 1, 0, 0, 0, 0))
    """
    shares: list[int] = []
    for i in range(parts):
        left = slices - sum(shares)
        shares.append(-(-left // (parts - i)))
    return tuple(shares)


class DividedBranches(nn.Module):
    """The nine branches of the SSLACL trunk, each for its share of an exam's slices.

    (S, in_slices, H, W) slices of one exam, in their order, to (S, channels, H / 4, W / 4) features in the same order:
    whole slices, not patches, joined along the slice axis (B3-22). A branch without slices is left out.

    Source: thesis 3.4.2.1 and 3.4.2, Fig. 3.6.
    """

    stride = STRIDE

    def __init__(self, trunk: Any) -> None:
        """trunk: an SslaclTrunk, whose branches are taken over (the convolution that joins them is not)."""
        super().__init__()
        self.branches: NineBranches = trunk.branches
        self.channels = self.branches.channels // BRANCHES
        self.in_slices: int = trunk.in_slices

    def forward(self, slices: Tensor) -> Tensor:
        shares = torch.split(slices, list(divide(len(slices))))
        pairs = zip(self.branches.branches, shares, strict=True)
        return torch.cat([branch(share) for branch, share in pairs if len(share)])
