"""Small networks on top of an encoder: pooling, projectors, predictors, classifiers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn


def pooled(features: Tensor) -> Tensor:
    """(B, D) means over all places of (B, D, ...) features; (B, D) stays as it is."""
    return features.flatten(2).mean(2) if features.ndim > 2 else features


def mlp(widths: Sequence[int], *, norm: bool = True, last_norm: bool = False, last_bias: bool = True) -> nn.Sequential:
    """Linear layers of these widths (input first) with ReLU between them.

    norm: batch normalisation after each layer but the last. last_norm: also after the last one.

    >>> import torch
    >>> mlp([128, 256, 64])(torch.zeros(2, 128)).shape
    torch.Size([2, 64])
    """
    layers: list[nn.Module] = []
    last = len(widths) - 2
    for i, (before, after) in enumerate(pairwise(widths)):
        normed = last_norm if i == last else norm
        layers.append(nn.Linear(before, after, bias=not normed and (i < last or last_bias)))
        if normed:
            layers.append(nn.BatchNorm1d(after))
        if i < last:
            layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)
