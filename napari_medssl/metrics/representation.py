"""Scores of a representation that need no downstream task: how near pairs lie, and how the space is filled.

Vectors are brought to unit length first. The thesis reports these scores without formulas (S44); they are those of
Wang and Isola (2020) and Wang and Liu (2021).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

_CHUNK = 1024  # rows of the matrix of pairs at a time: 10,000 vectors would fill 400 MB at once


def alignment(first: Tensor, second: Tensor) -> Tensor:
    """Mean squared distance of the positive pairs (first[i], second[i]), both (N, D); 0 is best, 4 is worst.

    Wang and Isola (2020) with exponent 2.
    """
    return (F.normalize(first, dim=1) - F.normalize(second, dim=1)).square().sum(1).mean()


def uniformity(vectors: Tensor, *, t: float = 2.0) -> Tensor:
    """ln of the mean of exp(-t d^2) over all pairs of different vectors; 0 when all are one, about -4 when spread.

    vectors: (N, D). Signed as defined; published tables give the magnitude, which is minus this (B5-21).
    Raises ValueError for fewer than two vectors.
    """
    if len(vectors) < 2:
        raise ValueError(f"uniformity is over pairs; got {len(vectors)} vector")
    return _log_mean_kernel(vectors, torch.arange(len(vectors), device=vectors.device), t)


def inter_class_uniformity(vectors: Tensor, classes: Tensor, *, t: float = 2.0) -> Tensor:
    """`uniformity` over the pairs of different classes only; classes: (N,) whole numbers (B5-21).

    Raises ValueError when there are no two classes.
    """
    if len(torch.unique(classes)) < 2:
        raise ValueError("uniformity between classes needs vectors of two classes")
    return _log_mean_kernel(vectors, classes, t)


def tolerance(vectors: Tensor, classes: Tensor) -> Tensor:
    """Mean cosine of the pairs of different vectors of one class; classes: (N,). 1 is best (Wang and Liu, 2021).

    A vector's pair with itself, always 1, is left out, so that the score does not depend on the size of the classes.

    Raises ValueError when no class has two vectors.
    """
    unit = F.normalize(vectors, dim=1)
    total, count = unit.new_zeros((), dtype=torch.float64), 0
    for c in torch.unique(classes):
        mine = unit[classes == c]
        n = len(mine)
        # |sum of units|^2 is the sum of all cosines, n of them a vector with itself.
        total = total + mine.double().sum(0).square().sum() - mine.double().square().sum()
        count += n * (n - 1)
    if not count:
        raise ValueError("tolerance is over pairs of one class; no class has two vectors")
    return (total / count).to(unit.dtype)


def effective_rank(vectors: Tensor, *, centred: bool = True) -> Tensor:
    """exp of the entropy of the singular values' shares: how many directions are in use, from 1 to min(N, D).

    vectors: (N, D), as they are (not brought to unit length). centred: without their mean, which would otherwise count
        as one strong direction; Garrido et al. (2023) leave it in. 0 when all vectors are equal (centred).

    Roy and Vetterli (2007). No formula in the documents.
    """
    x = vectors.double()
    if centred:
        x = x - x.mean(0)
    values = torch.linalg.svdvals(x)
    total = values.sum()
    if total <= 1e-12 * max(1.0, float(vectors.abs().max())) * len(values):
        return vectors.new_zeros(())
    shares = values / total
    rank: Tensor = torch.special.entr(shares).sum().exp().to(vectors.dtype)
    return rank


def _log_mean_kernel(vectors: Tensor, groups: Tensor, t: float) -> Tensor:
    """ln mean exp(-t d^2) over pairs of different groups, computed as 2 t (cos - 1) because the vectors are unit."""
    unit = F.normalize(vectors, dim=1)
    logs, count = [], 0
    for start in range(0, len(unit), _CHUNK):
        rows = slice(start, start + _CHUNK)
        other = groups[rows, None] != groups[None]
        exponent = 2 * t * (unit[rows] @ unit.T - 1)
        logs.append(exponent.masked_fill(~other, -torch.inf).logsumexp((0, 1)))
        count += int(other.sum())
    mean: Tensor = torch.stack(logs).logsumexp(0) - math.log(count)
    return mean
