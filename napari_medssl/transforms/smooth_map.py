"""Maps that change smoothly over a slice, from a few random nodes."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def smooth_map(nodes: Tensor, shape_yx: tuple[int, int]) -> Tensor:
    """(B, C, n, n) nodes as (B, C, Y, X): bicubic, with the outer nodes on the corners. It may overshoot them."""
    return F.interpolate(nodes, size=shape_yx, mode="bicubic", align_corners=True)
