"""Gaussian blur of volumes, each with its own width."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

MAX_SIGMA = 1.5
"""Widest blur in voxels; beyond it the kernel of seven taps is cut off visibly."""

_REACH = 3


def blur_volumes(volumes: Tensor, sigmas: Tensor) -> Tensor:
    """(B, C, Z, Y, X) volumes blurred by (B,) standard deviations in voxels, at most `MAX_SIGMA`.

    0 leaves a volume as it is. The outermost voxels repeat beyond the border.
    """
    b, c = volumes.shape[:2]
    reach = torch.arange(-_REACH, _REACH + 1, device=volumes.device, dtype=volumes.dtype)
    kernels = torch.exp(-0.5 * (reach / sigmas.to(volumes.dtype).clamp(1e-3, MAX_SIGMA)[:, None]) ** 2)
    kernels = (kernels / kernels.sum(1, keepdim=True)).repeat_interleave(c, 0)  # (B * C, taps)
    out = volumes.flatten(0, 1)[None]
    for axis in range(3):
        shape, edge = [b * c, 1, 1, 1, 1], [0] * 6
        shape[2 + axis] = 2 * _REACH + 1
        edge[4 - 2 * axis] = edge[5 - 2 * axis] = _REACH
        out = F.conv3d(F.pad(out, edge, mode="replicate"), kernels.view(shape), groups=b * c)
    return out.view(volumes.shape)
