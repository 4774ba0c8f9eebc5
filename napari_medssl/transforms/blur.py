"""Gaussian blur of batches, each image by its own amount: slices, and volumes."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

MAX_SIGMA = 1.5
"""Widest blur of volumes in voxels; beyond it the kernel of seven taps is cut off visibly."""

_REACH = 3


def blur_slices(
    images: Tensor, sigma: Tensor, *, radius: int = 2, border: Literal["reflect", "replicate"] = "reflect"
) -> Tensor:
    """Blurred (B, C, H, W) images. sigma: (B,) in pixels, 0 leaves an image as it is. radius: kernel half width.

    border: beyond it the image is mirrored, or its outermost pixels repeat. On the CPU only the images with a sigma
    above 0 cost time.
    """
    if images.device.type == "cpu":
        chosen = torch.nonzero(sigma > 0)[:, 0]
        if len(chosen) < len(images):
            return images.index_copy(0, chosen, _blurred(images[chosen], sigma[chosen], radius, border))
    return _blurred(images, sigma, radius, border)


def _blurred(images: Tensor, sigma: Tensor, radius: int, border: str) -> Tensor:
    if not len(images):
        return images
    b, c, h, w = images.shape
    kernel = _taps(sigma.to(images.dtype), radius).repeat_interleave(c, 0)[:, None]  # (B C, 1, 2 radius + 1)
    x = F.pad(images.reshape(1, b * c, h, w), (radius, radius, radius, radius), mode=border)
    x = F.conv2d(x, kernel[:, :, None, :], groups=b * c)
    return F.conv2d(x, kernel[:, :, :, None], groups=b * c).view(b, c, h, w)


def blur_volumes(volumes: Tensor, sigmas: Tensor) -> Tensor:
    """(B, C, Z, Y, X) volumes blurred by (B,) standard deviations in voxels, at most `MAX_SIGMA`.

    0 leaves a volume as it is. The outermost voxels repeat beyond the border.
    """
    taps = _taps(sigmas.to(volumes.dtype).clamp(max=MAX_SIGMA), _REACH).T[..., None, None, None, None]
    out = volumes
    for axis in (2, 3, 4):
        edge = [_REACH if axis == 4 - i // 2 else 0 for i in range(6)]  # F.pad counts axes from the last
        padded = F.pad(out, edge, mode="replicate")
        out = taps[0] * padded.narrow(axis, 0, volumes.shape[axis])
        for i in range(1, len(taps)):
            out = torch.addcmul(out, taps[i], padded.narrow(axis, i, volumes.shape[axis]))
    return out


def _taps(sigma: Tensor, radius: int) -> Tensor:
    """(B, 2 radius + 1) weights of each (B,) sigma; of sigma 0 a single one in the middle."""
    reach = torch.arange(-radius, radius + 1, device=sigma.device, dtype=sigma.dtype)
    taps = torch.exp(-0.5 * (reach / sigma.clamp(min=1e-3)[:, None]) ** 2)
    return taps / taps.sum(1, keepdim=True)
