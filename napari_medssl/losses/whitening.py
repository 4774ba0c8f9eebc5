"""W-MSE: two views agree after their embeddings have been whitened over the batch."""

from __future__ import annotations

import torch
from torch import Tensor

from napari_medssl.errors import SettingsError
from napari_medssl.losses.float32 import in_float32


@in_float32
def whiten(z: Tensor, *, ridge: float = 1e-4) -> Tensor:
    """(B, D) embeddings with mean 0 and, but for the ridge, the identity as covariance over the batch.

    W = L^-1 of the Cholesky factor L L^T of the covariance. ridge: share of the mean variance added to the diagonal
    (ours: a collapsed batch then gives a loss instead of a failing factorisation; the authors' code adds nothing).

    Source: Ermolov et al., "Whitening for Self-Supervised Representation Learning" (2021), Eq. 6; Siarohin et al.
    (2019). Raises SettingsError when the batch is not larger than D, as its covariance cannot be inverted.
    """
    n, d = z.shape
    if n <= d:
        raise SettingsError(
            f"w-mse whitens {n} embeddings of {d} numbers; give it more embeddings than numbers: "
            "a larger batch, larger parts or a smaller width (the paper takes parts of twice the width)"
        )
    centred = z - z.mean(0)
    covariance = centred.T @ centred / (n - 1)
    floor = ridge * torch.diagonal(covariance).mean() + torch.finfo(z.dtype).tiny ** 0.5
    factor = torch.linalg.cholesky(covariance + floor * torch.eye(d, dtype=z.dtype, device=z.device))
    white: Tensor = torch.linalg.solve_triangular(factor, centred.T, upper=False).T
    return white


@in_float32
def w_mse(z1: Tensor, z2: Tensor, *, part: int = 0, ridge: float = 1e-4) -> Tensor:
    """Scalar in [0, 4]: mean over the batch of 2 - 2 cos of the two views' whitened embeddings.

    z1, z2: (B, D), row by row two views of the same image. part: rows whitened together, each view by itself; 0: all;
    otherwise the batch is cut into floor(B / part) parts of nearly equal size.

    Source: W-MSE (2021), Eqs. 4-6, with unit vectors and batch slicing. The authors draw the rows of a part anew; here
    rows that follow each other make a part, because the examples of a batch are drawn at random already.
    """
    count = max(1, len(z1) // part) if part else 1
    parts = zip(z1.tensor_split(count), z2.tensor_split(count), strict=True)
    cosines = [torch.cosine_similarity(whiten(a, ridge=ridge), whiten(b, ridge=ridge), dim=1) for a, b in parts]
    return (2 - 2 * torch.cat(cosines)).mean()
