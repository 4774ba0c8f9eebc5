"""Gaussian blur of a batch of slices, each by its own amount."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def blur(images: Tensor, sigma: Tensor, *, radius: int = 2) -> Tensor:
    """Blurred (B, C, H, W) images. sigma: (B,) in pixels, 0 leaves an image as it is. radius: kernel half width.

    The image is mirrored at its border. On the CPU only the images with a sigma above 0 cost time.
    """
    if images.device.type == "cpu":
        chosen = torch.nonzero(sigma > 0)[:, 0]
        if len(chosen) < len(images):
            return images.index_copy(0, chosen, _blur(images[chosen], sigma[chosen], radius))
    return _blur(images, sigma, radius)


def _blur(images: Tensor, sigma: Tensor, radius: int) -> Tensor:
    if not len(images):
        return images
    b, c, h, w = images.shape
    reach = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    kernel = torch.exp(-0.5 * (reach / sigma.clamp(min=1e-3)[:, None]) ** 2)  # sigma 0: a single one in the middle
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(c, 0)[:, None]  # (B C, 1, 2 radius + 1)
    x = F.pad(images.reshape(1, b * c, h, w), (radius, radius, radius, radius), mode="reflect")
    x = F.conv2d(x, kernel[:, :, None, :], groups=b * c)
    return F.conv2d(x, kernel[:, :, :, None], groups=b * c).view(b, c, h, w)
