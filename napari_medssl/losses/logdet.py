"""LogDet: views agree, and the covariance of the embeddings is the identity by a measure that forbids collapse."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_medssl.losses.float32 import in_float32


@in_float32
def logdet_divergence(z: Tensor, *, ridge: float = 1e-4) -> Tensor:
    """Scalar of at least 0: (tr C - log det C - D) / D of the covariance C of (B, D) embeddings.

    The Bregman matrix divergence of C from the identity that belongs to -log det: an eigenvalue e costs e - log e - 1,
    which is 0 at 1 and grows without bound towards 0, where the squared distance |C - I|^2 of soft decorrelation stays
    at 1. ridge: added to the diagonal of C (ours), so that a batch of at most D rows has a finite loss.
    Costs the determinant of a matrix of the smaller of B and D.
    """
    n, d = z.shape
    centred = z - z.mean(0)
    products = (centred.T @ centred if d <= n else centred @ centred.T) / (n - 1)  # equal eigenvalues but for zeros
    k = len(products)
    logarithms = torch.linalg.slogdet(products + ridge * torch.eye(k, dtype=z.dtype, device=z.device))[1]
    if d > n:
        logarithms = logarithms + (d - n) * math.log(ridge)
    divergence: Tensor = torch.trace(products) + ridge * d - logarithms - d
    return divergence / d


@in_float32
def logdet(z1: Tensor, z2: Tensor, *, weight: float = 1.0, ridge: float = 1e-4) -> Tensor:
    """Scalar: mean squared difference of the views + weight * mean `logdet_divergence` of the views.

    z1, z2: (B, D), row by row two views of the same image; B of at least 2.

    Source: Zhang et al., "Geometric View of Soft Decorrelation in Self-Supervised Learning" (KDD 2024), of which the
    thesis quotes a number (Tables 5.5, 6.10) without a formula. From its abstract: an alignment term, and a
    regularisation that measures the distance of the covariance matrix from the identity by a Bregman matrix divergence,
    of which LogDet is the one that solves dimensional collapse. Our reading: the covariance of each view, the direction
    D(C, I), both terms as means over the dimensions, weight 1.
    """
    regular = (logdet_divergence(z1, ridge=ridge) + logdet_divergence(z2, ridge=ridge)) / 2
    return F.mse_loss(z1, z2) + weight * regular
