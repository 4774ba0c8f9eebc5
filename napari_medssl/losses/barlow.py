"""Barlow Twins: the cross-correlation of two views' embeddings is to be the identity."""

from __future__ import annotations

import torch
from torch import Tensor

from napari_medssl.losses.float32 import in_float32

_EPS = 1e-5  # added to variances, as batch normalisation does in the authors' code


@in_float32
def barlow_twins(z1: Tensor, z2: Tensor, *, off_diagonal: float = 5e-3) -> Tensor:
    """Scalar: sum_i (1 - C_ii)^2 + off_diagonal * sum_{i != j} C_ij^2 of the (D, D) cross-correlation over the batch.

    z1, z2: (B, D), row by row two views of the same image; B of at least 2. A dimension that does not vary over the
    batch costs 1.

    Source: Zbontar et al., "Barlow Twins" (2021), Eqs. 1 and 2, lambda 5e-3.
    """
    correlation = _standard(z1).T @ _standard(z2) / len(z1)  # (D, D)
    own = torch.diagonal(correlation)
    rest = correlation.square().sum() - own.square().sum()
    return (1 - own).square().sum() + off_diagonal * rest


def _standard(z: Tensor) -> Tensor:
    centred = z - z.mean(0)
    return centred / (centred.square().mean(0) + _EPS).sqrt()
