"""VICReg: views agree, dimensions vary, dimensions do not repeat each other."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_medssl.losses.float32 import in_float32

_EPS = 1e-4  # inside the root of Eq. 2, keeps its gradient finite


@in_float32
def vicreg(
    z1: Tensor, z2: Tensor, *, invariance: float = 25.0, variance: float = 25.0, covariance: float = 1.0
) -> Tensor:
    """Scalar: invariance * s + variance * v + covariance * c.

    z1, z2: (B, D), row by row two views of the same image; B of at least 2.
    s: mean squared difference. v: mean over views and dimensions of max(0, 1 - standard deviation over the batch).
    c: squared off-diagonal covariances, summed, over D, summed over the views.

    Source: Bardes et al., "VICReg" (2022), Eqs. 1-6, weights 25, 25, 1. The paper's s sums over the dimensions and its
    v over the views; its weights belong to the authors' code, which takes the means, and so does this.
    """
    s = F.mse_loss(z1, z2)
    v = (_flatness(z1) + _flatness(z2)) / 2
    c = _redundancy(z1) + _redundancy(z2)
    return invariance * s + variance * v + covariance * c


def _flatness(z: Tensor) -> Tensor:
    return F.relu(1 - (z.var(0) + _EPS).sqrt()).mean()


def _redundancy(z: Tensor) -> Tensor:
    n, d = z.shape
    centred = z - z.mean(0)
    covariance = centred.T @ centred / (n - 1)
    return (covariance.square().sum() - torch.diagonal(covariance).square().sum()) / d
