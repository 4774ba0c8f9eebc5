"""Centred kernel alignment: how alike two layers are, whatever the rotation and scale of their features."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def linear_cka(x: Tensor, y: Tensor) -> float:
    """Similarity in [0, 1] of features x (N, D) and y (N, E) of the same N inputs.

    |Yc^T Xc|^2 / (|Xc^T Xc| |Yc^T Yc|) with Frobenius norms and centred columns (Kornblith et al., 2019); paper 002
    does not say which kernel it took (B2-30). NaN when all features of one layer are equal.

    With few inputs and many features it is biased upwards, to 1 for N <= 2; `DebiasedCKA` is not.
    """
    a, b = _centred(x), _centred(y)
    if len(a) < max(a.shape[1], b.shape[1]):  # the smaller of the two equal forms
        return _alignment(a @ a.T, b @ b.T)
    cross = (b.T @ a).square().sum()
    return float(cross / ((a.T @ a).norm() * (b.T @ b).norm()))


def rbf_cka(x: Tensor, y: Tensor, *, width: float = 1.0) -> float:
    """`linear_cka` with Gaussian kernels; `width` is their deviation as a multiple of the median distance."""
    return _alignment(_centre_gram(_gaussian(x, width)), _centre_gram(_gaussian(y, width)))


def cka_table(first: Sequence[Tensor], second: Sequence[Tensor]) -> list[list[float]]:
    """Linear CKA of every layer of one network (rows) with every layer of another; all (N, D) of the same inputs."""
    return [[linear_cka(a, b) for b in second] for a in first]


class DebiasedCKA:
    """Linear CKA over batches of any number of inputs, without keeping them.

    The three HSIC terms are averaged over batches with the unbiased estimator of Song et al. (2012), as by Nguyen et
    al. (2021); the result then does not depend on the size of the batches but for noise, and can be slightly below 0.
    """

    def __init__(self) -> None:
        self._sums = torch.zeros(3, dtype=torch.float64)

    def update(self, x: Tensor, y: Tensor) -> None:
        """Add a batch of at least four inputs: x (B, D), y (B, E)."""
        if len(x) < 4 or len(x) != len(y):
            raise ValueError(f"a batch needs at least 4 inputs in both layers; got {len(x)} and {len(y)}")
        k, m = (_without_diagonal(v.double() @ v.double().T) for v in (x, y))
        self._sums += torch.stack([_unbiased(k, m), _unbiased(k, k), _unbiased(m, m)]).cpu()

    @property
    def value(self) -> float:
        """The similarity so far; NaN before the first batch."""
        xy, xx, yy = self._sums.tolist()
        return float(xy / (xx * yy) ** 0.5) if xx > 0 and yy > 0 else float("nan")


def _centred(x: Tensor) -> Tensor:
    x = x.double()
    return x - x.mean(0)


def _centre_gram(gram: Tensor) -> Tensor:
    return gram - gram.mean(0) - gram.mean(1, keepdim=True) + gram.mean()


def _alignment(a: Tensor, b: Tensor) -> float:
    return float((a * b).sum() / (a.norm() * b.norm()))


def _gaussian(x: Tensor, width: float) -> Tensor:
    squared = torch.cdist(x.double(), x.double()).square()
    apart = squared[~torch.eye(len(x), dtype=torch.bool, device=x.device)]
    return (-squared / (2 * width**2 * apart.median().clamp(min=1e-12))).exp()


def _without_diagonal(gram: Tensor) -> Tensor:
    return gram - torch.diag(gram.diagonal())


def _unbiased(k: Tensor, m: Tensor) -> Tensor:
    """HSIC_1 of two Gram matrices whose diagonals are 0."""
    n = len(k)
    trace = (k * m).sum()
    sums = k.sum() * m.sum() / ((n - 1) * (n - 2))
    rows = 2 / (n - 2) * (k.sum(0) * m.sum(0)).sum()
    return (trace + sums - rows) / (n * (n - 3))
