"""Weighted nearest neighbours: what a frozen representation knows, without training anything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

Weighting: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""(M, D) queries and (N, D) bank to (M, N) weights, larger for nearer ones; the largest are the neighbours."""


def exponential_cosine(temperature: float = 0.1) -> Weighting:
    """Weights exp(cos / temperature), the default of thesis 5 and 6 (raw or exponential is not said there, B6-18).

    All are divided by exp(1 / temperature), which changes no vote and keeps small temperatures from overflowing.

    Raises ValueError unless the temperature is above 0.
    """
    if temperature <= 0:
        raise ValueError(f"the temperature is {temperature}; it must be above 0")

    def weighting(queries: Tensor, bank: Tensor) -> Tensor:
        return ((cosine(queries, bank) - 1) / temperature).exp()

    return weighting


def cosine(queries: Tensor, bank: Tensor) -> Tensor:
    """The cosine itself as weight; a neighbour that points away (below 0) has no vote."""
    return F.normalize(queries, dim=1) @ F.normalize(bank, dim=1).T


def inverse_distance(queries: Tensor, bank: Tensor) -> Tensor:
    """Weights 1 / Euclidean distance, of the features as they are (thesis 6, long-tailed data)."""
    # Differences instead of the quicker matrix product: that leaves 1e-3 between equal vectors, here a huge weight.
    return 1 / torch.cdist(queries, bank, compute_mode="donot_use_mm_for_euclid_dist").clamp(min=1e-6)


def knn_votes(
    queries: Tensor,
    bank: Tensor,
    targets: Tensor,
    *,
    ks: Sequence[int] = (200, 20, 10, 1),
    weighting: Weighting | None = None,
    chunk: int = 1024,
) -> dict[int, Tensor]:
    """What the k nearest of the bank say, for several k at once.

    queries: (M, D), bank: (N, D) float, on one device. targets: (N, C) float: one-hot classes, several labels at once,
        or numbers to be averaged. ks: numbers of neighbours; thesis 5 and 6 take 200 (20 for a hundred classes of
        ImageNet, 10 and 1 on long tails). A k above N takes the whole bank. chunk: queries at a time.

    Returns k to (M, C), the weighted mean of the neighbours' targets; for classes that is their probability.
    Raises ValueError for an empty bank or a k below 1.
    """
    if not len(bank) or len(bank) != len(targets):
        raise ValueError(f"{len(bank)} features with {len(targets)} targets; the bank needs one target per feature")
    if min(ks) < 1:
        raise ValueError(f"k is {min(ks)}; it must be at least 1")
    weigh = weighting or exponential_cosine()
    parts = [_votes(weigh(part, bank), targets, ks) for part in torch.split(queries, chunk)]
    return {k: torch.cat([part[k] for part in parts]) for k in ks}


def knn_accuracy(queries: Tensor, truth: Tensor, bank: Tensor, classes: Tensor, *, k: int = 200) -> float:
    """Share of queries whose class the vote of k neighbours finds; truth: (M,) and classes: (N,) whole numbers."""
    count = int(max(truth.max(), classes.max())) + 1
    votes = knn_votes(queries, bank, F.one_hot(classes.long(), count).to(bank.dtype), ks=(k,))[k]
    return float((votes.argmax(1) == truth).float().mean())


def _votes(weights: Tensor, targets: Tensor, ks: Sequence[int]) -> dict[int, Tensor]:
    top, index = weights.topk(min(max(ks), len(targets)), dim=1)
    near = targets[index]  # (m, k, C)
    return {k: _mean(top[:, :k].clamp(min=0), near[:, :k]) for k in ks}


def _mean(weights: Tensor, values: Tensor) -> Tensor:
    weights = torch.where(weights.sum(1, keepdim=True) > 0, weights, 1.0)  # nobody has a vote: all have the same
    shares = weights / weights.sum(1, keepdim=True)
    return (shares[..., None] * values).sum(1)
