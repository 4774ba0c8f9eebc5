"""ZeroCL: whitening takes the place of negatives, over the instances, the features or both."""

from __future__ import annotations

from torch import Tensor

from napari_medssl.losses.float32 import in_float32
from napari_medssl.losses.whitening import standardised, zca


@in_float32
def zero_icl(z1: Tensor, z2: Tensor, *, shrink: float = 0.1) -> Tensor:
    """Scalar: mean over the instances of (1 - <h1_i, h2_i> / (D - 1))^2, instances whitened against each other.

    z1, z2: (B, D), row by row two views of the same image; h: each instance standardised over its D numbers, then all
    whitened by the (B, B) covariance of the instances. Needs D larger than B to be exact; `shrink` bridges the rest.

    Source: Zhang et al., "Zero-CL: Instance and Feature Decorrelation for Negative-Free Symmetric Contrastive Learning"
    (2022), the instance-wise loss. The thesis quotes its numbers (Tables 5.5, 6.10) without a formula. Read from the
    paper's public code: ZCA from 0.9 covariance + 0.1 identity, without a gradient through the matrix; squared distance
    of the diagonal from 1. Two things are ours: the mean where the code sums, so that the instance-wise and the
    feature-wise loss weigh the same and the size does not follow the batch; and D - 1, the divisor of the covariance,
    so that equal and well spread views reach 0.
    """
    return _diagonal_loss(z1, z2, shrink)


@in_float32
def zero_fcl(z1: Tensor, z2: Tensor, *, shrink: float = 0.1) -> Tensor:
    """Scalar: mean over the features of (1 - <h1_j, h2_j> / (B - 1))^2, features whitened against each other.

    As `zero_icl` with instances and features exchanged: each feature is standardised over the batch, and all are
    whitened by their (D, D) covariance.
    """
    return _diagonal_loss(z1.T, z2.T, shrink)


@in_float32
def zero_cl(z1: Tensor, z2: Tensor, *, shrink: float = 0.1) -> Tensor:
    """Scalar: `zero_icl` + `zero_fcl`, with equal weight on their means (ours)."""
    return _diagonal_loss(z1, z2, shrink) + _diagonal_loss(z1.T, z2.T, shrink)


def _diagonal_loss(rows1: Tensor, rows2: Tensor, shrink: float) -> Tensor:
    h1, h2 = zca(standardised(rows1), shrink=shrink), zca(standardised(rows2), shrink=shrink)
    agreement = (h1 * h2).sum(1) / (rows1.shape[1] - 1)
    return (1 - agreement).square().mean()
