"""ARB: the features of one view are to be the orthonormal base nearest to the other view's features."""

from __future__ import annotations

import torch
from torch import Tensor

from napari_medssl.errors import SettingsError
from napari_medssl.losses.float32 import in_float32
from napari_medssl.losses.whitening import standardised, zca


@in_float32
def arb(z1: Tensor, z2: Tensor, *, group: int = 0, shrink: float = 1e-4) -> Tensor:
    """Scalar: mean over the features j and both directions of (1 - <z1_j, base2_j> / (B - 1))^2.

    z1, z2: (B, D), row by row two views of the same image; each feature is standardised over the batch. base2: the
    orthogonal vectors nearest to the features of z2, (Z Z^T)^-1/2 Z of the (D, B) features, of variance 1 and without
    a gradient. group: features per base, a divisor of D; 0: all in one. A base has at most B - 1 vectors, because the
    features are centred. shrink: share of the identity mixed into the covariance.

    Source: Zhang et al., "Align Representations with Base" (2022); the thesis quotes its numbers (Tables 5.5, 6.10) and
    says "orthonormal bases of one view as a target for the other" (2.2.3.2). Read from the paper's public code, which
    also groups the features; the mean where it sums, and B - 1 where it divides by B, are ours. Its shuffling of
    features before grouping is left to the caller, since it draws.

    Raises SettingsError when the groups do not divide D or are not smaller than the batch.
    """
    size = group or z1.shape[1]
    if z1.shape[1] % size or size >= len(z1):
        raise SettingsError(
            f"arb forms bases of {size} features out of {z1.shape[1]} over a batch of {len(z1)}; "
            "choose a group that divides the width and is smaller than the batch"
        )
    rows1, rows2 = standardised(z1.T), standardised(z2.T)
    return (_towards(rows1, rows2, size, shrink) + _towards(rows2, rows1, size, shrink)) / 2


def _towards(rows: Tensor, other: Tensor, size: int, shrink: float) -> Tensor:
    base = torch.cat([zca(part, shrink=shrink) for part in other.tensor_split(len(other) // size)]).detach()
    return (1 - (rows * base).sum(1) / (rows.shape[1] - 1)).square().mean()
