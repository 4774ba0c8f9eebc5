"""Ways to make embeddings uncorrelated and of variance 1: by a Cholesky factor, or turned as little as possible."""

from __future__ import annotations

import torch
from torch import Tensor

from napari_medssl.errors import SettingsError
from napari_medssl.losses.float32 import in_float32

_EPS = 1e-5  # keeps a row that does not vary at 0 instead of dividing by it


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


def zca(rows: Tensor, *, shrink: float) -> Tensor:
    """(R, M) rows turned and stretched by the inverse root of their (R, R) covariance over M samples.

    rows: standardised. shrink: share of the identity mixed into the covariance; more than 0 where R is not below M. The
    matrix carries no gradient. Of all whitened rows these are the nearest to `rows` (ZCA). Costs the eigenvectors of a
    matrix of the smaller of R and M.
    """
    with torch.no_grad():
        directions, stretch, rest = _inverse_root(rows, shrink)
    whitened: Tensor = rest * rows + directions @ ((stretch - rest)[:, None] * (directions.T @ rows))
    return whitened


def _inverse_root(rows: Tensor, shrink: float) -> tuple[Tensor, Tensor, float]:
    """Directions (R, K), the factor along each (K,), and that along everything else."""
    r, m = rows.shape
    if r <= m:
        values, directions = torch.linalg.eigh(rows @ rows.T / (m - 1))
        rest = 0.0  # the directions are all there are
    else:  # rows @ rows.T has the eigenvalues of rows.T @ rows, and 0
        values, samples = torch.linalg.eigh(rows.T @ rows / (m - 1))
        some = values > values[-1] * r * torch.finfo(rows.dtype).eps
        values, samples = values[some], samples[:, some]
        directions, rest = rows @ samples / (values * (m - 1)).sqrt(), shrink**-0.5
    stretch = ((1 - shrink) * values.clamp(min=0.0) + shrink).clamp(min=_EPS).rsqrt()
    return directions, stretch, rest


def standardised(rows: Tensor) -> Tensor:
    """(R, M) rows with mean 0 and variance 1 over their M samples; a row that does not vary becomes 0."""
    centred = rows - rows.mean(1, keepdim=True)
    deviation = (centred.square().sum(1, keepdim=True) / (rows.shape[1] - 1) + _EPS**2).sqrt()
    return centred / (deviation + _EPS)
