"""Gaussian noise that was drawn beforehand: places in one fixed field, the same on every machine and device."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

_FIELD = 1 << 22
"""Samples in the field: long against an image, so that two places seldom share noise at the same pixels."""


@functools.lru_cache(maxsize=4)
def _field(device: torch.device) -> Tensor:
    return torch.randn(_FIELD, generator=torch.Generator().manual_seed(0)).to(device)


def draw_noise_places(rng: np.random.Generator, count: int) -> np.ndarray:
    """(count,) int64 places in the field, one for each noise image."""
    return rng.integers(_FIELD, size=count)


def white_noise(places: Tensor, shape: Sequence[int]) -> Tensor:
    """(B, *shape) standard normal noise, float32, on the device of `places`, (B,) int64.

    Cutting noise out of a field makes an example independent of the batch it stands in, and costs a copy instead of a
    random number per pixel. Raises ValueError when an image has more pixels than the field.
    """
    pixels = math.prod(shape)
    if pixels > _FIELD:
        raise ValueError(f"noise of {pixels} pixels was asked for; the field has {_FIELD}")
    windows = _field(places.device).unfold(0, pixels, 1)
    return windows[places % len(windows)].view(len(places), *shape)
