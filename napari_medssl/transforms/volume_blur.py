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
    reach = torch.arange(-_REACH, _REACH + 1, device=volumes.device, dtype=volumes.dtype)
    taps = torch.exp(-0.5 * (reach / sigmas.to(volumes.dtype).clamp(1e-3, MAX_SIGMA)[:, None]) ** 2)
    taps = (taps / taps.sum(1, keepdim=True)).T[..., None, None, None, None]  # (taps, B, 1, 1, 1, 1)
    out = volumes
    for axis in (2, 3, 4):
        edge = [_REACH if axis == 4 - i // 2 else 0 for i in range(6)]  # F.pad counts axes from the last
        padded = F.pad(out, edge, mode="replicate")
        out = taps[0] * padded.narrow(axis, 0, volumes.shape[axis])
        for i in range(1, len(taps)):
            out = torch.addcmul(out, taps[i], padded.narrow(axis, i, volumes.shape[axis]))
    return out
