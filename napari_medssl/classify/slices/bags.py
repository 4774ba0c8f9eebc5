"""Heads that learn from whole exams: attention over the slices, or the slice that shows most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_medssl.classify.slices.marks import FloatArray, Kind
from napari_medssl.progress import Progress, Steps

Pooling = Literal["attention", "max"]

_HIDDEN = 64  # of the attention; Ilse et al. take 128 for 500 numbers per instance
_RATE, _DECAY = 5e-3, 1e-2
LARGER = 8.0  # points have length 1; networks start better from numbers of about 1
_REPORT_EVERY = 25


@dataclass(frozen=True, eq=False)
class BagScorer:
    """A linear score per slice and class, joined over the slices of an exam.

    weight: (M, C, P), bias: (M, C) of the slices' scores. For attention also gate and value: (M, H, P), and query:
    (M, C, H); empty for the largest score.
    """

    weight: FloatArray
    bias: FloatArray
    gate: FloatArray
    value: FloatArray
    query: FloatArray

    def logits(self, points: FloatArray) -> FloatArray:
        """(M, Z, C) scores of single slices."""
        return np.asarray(np.einsum("zp,mcp->mzc", LARGER * points, self.weight) + self.bias[:, None], np.float32)

    def attention(self, points: FloatArray) -> FloatArray | None:
        """(M, Z, C) shares, summing to 1 over the slices; None when only the largest score counts."""
        if not self.query.size:
            return None
        x, there = _stacked([points])
        parts = zip(*(map(torch.from_numpy, (self.gate, self.value, self.query))), strict=True)
        return np.stack([_attention(x[0], there[0], *part).numpy() for part in parts])

    def exam_logits(self, points: FloatArray) -> FloatArray:
        """(M, C) of the exam as a whole."""
        slices, shares = self.logits(points), self.attention(points)
        return np.asarray(slices.max(1) if shares is None else (shares * slices).sum(1), np.float32)

    def arrays(self) -> dict[str, FloatArray]:
        """What was learned."""
        return {"weight": self.weight, "bias": self.bias, "gate": self.gate, "value": self.value, "query": self.query}

    @staticmethod
    def from_arrays(arrays: Mapping[str, FloatArray]) -> BagScorer:
        """The scorer that `arrays` came from."""
        return BagScorer(*(arrays[name] for name in ("weight", "bias", "gate", "value", "query")))


def learn_bags(
    bags: Sequence[FloatArray],
    targets: FloatArray,
    kind: Kind,
    *,
    pooling: Pooling,
    draws: FloatArray,
    steps: int,
    seed: int,
    label: str = "learning from exams",
) -> Steps[BagScorer]:
    """One network per row of `draws`.

    bags: (n_i, P) points of each of N exams. targets: (N, C) 1, 0, NaN. draws: (M, N) how often each exam counts.

    Attention: gated attention (Ilse et al., 2018, https://arxiv.org/abs/1802.04712, equation 9), one attention per
    class, and a linear classifier of the weighted mean, which is the weighted mean of the slices' scores. Max: the
    largest score (MRNet, Bien et al., 2018, takes the largest of each feature instead, which names no slice). Classes
    count equally. AdamW over all exams at once; ours, for tens of exams.
    """
    rounds = []
    for m, counts in enumerate(draws):
        rounds.append(
            (yield from _learn_one(bags, targets, kind, pooling, counts, steps, seed + m, m, len(draws), label))
        )
    return BagScorer(*(np.stack([r[i] for r in rounds]) for i in range(5)))


def _learn_one(
    bags: Sequence[FloatArray], targets: FloatArray, kind: Kind, pooling: Pooling, counts: FloatArray, steps: int,
    seed: int, number: int, of: int, label: str,
) -> Steps[list[FloatArray]]:  # fmt: skip
    used = np.flatnonzero(counts > 0)
    parameters = _first_weights(bags[0].shape[1], targets.shape[1], pooling, torch.Generator().manual_seed(seed))
    optimiser = torch.optim.AdamW(parameters, lr=_RATE, weight_decay=_DECAY)
    x, there = _stacked([bags[i] for i in used.tolist()])
    y, repeats = torch.from_numpy(targets[used]), torch.from_numpy(counts[used].astype(np.float32))
    for step in range(steps):
        if step % _REPORT_EVERY == 0:
            yield Progress(number * steps + step, of * steps, label)
        with torch.enable_grad():
            logits = _exams(x, there, parameters)
            loss = _loss(logits, y, repeats, kind)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return [p.detach().numpy() for p in parameters]


def _first_weights(size: int, classes: int, pooling: Pooling, generator: torch.Generator) -> list[Tensor]:
    hidden = _HIDDEN if pooling == "attention" else 0
    shapes = [(classes, size), (classes,), (hidden, size), (hidden, size), (classes, hidden)]
    scales = [0.0, 0.0, size**-0.5, size**-0.5, 0.1]
    return [
        (scale * torch.randn(shape, generator=generator)).requires_grad_(True)
        for shape, scale in zip(shapes, scales, strict=True)
    ]


def _stacked(bags: Sequence[FloatArray]) -> tuple[Tensor, Tensor]:
    """(B, n, P) points of all bags, short ones filled up, and (B, n, 1) whether a point is there."""
    longest = max(map(len, bags))
    x, there = torch.zeros(len(bags), longest, bags[0].shape[1]), torch.zeros(len(bags), longest, 1, dtype=torch.bool)
    for i, bag in enumerate(bags):
        x[i, : len(bag)] = torch.from_numpy(np.ascontiguousarray(LARGER * bag, dtype=np.float32))
        there[i, : len(bag)] = True
    return x, there


def _exams(x: Tensor, there: Tensor, parameters: Sequence[Tensor]) -> Tensor:
    """(B, C) logits of whole exams."""
    weight, bias, gate, value, query = parameters
    slices = F.linear(x, weight, bias)  # (B, n, C)
    if not query.numel():
        return slices.masked_fill(~there, -torch.inf).max(1).values
    return (_attention(x, there, gate, value, query) * slices).sum(1)


def _attention(x: Tensor, there: Tensor, gate: Tensor, value: Tensor, query: Tensor) -> Tensor:
    """(..., n, C) of (..., n, P), summing to 1 over the slices that are there."""
    scores = F.linear(torch.tanh(F.linear(x, value)) * torch.sigmoid(F.linear(x, gate)), query)
    return scores.masked_fill(~there, -torch.inf).softmax(-2)


def _loss(logits: Tensor, targets: Tensor, repeats: Tensor, kind: Kind) -> Tensor:
    if kind == "one":
        said = (targets == 1).any(1)
        classes = targets[said].nan_to_num(0).argmax(1)
        shares = torch.zeros(targets.shape[1]).index_add_(0, classes, repeats[said])
        weights = repeats[said] / shares[classes]
        return (weights * F.cross_entropy(logits[said], classes, reduction="none")).sum() / weights.sum()
    known = ~targets.isnan()
    y = targets.nan_to_num(0)
    counted = known * repeats[:, None]
    yes, no = (counted * y).sum(0), (counted * (1 - y)).sum(0)
    weights = counted * (y / yes.clamp(min=1) + (1 - y) / no.clamp(min=1)) / 2
    return (weights * F.binary_cross_entropy_with_logits(logits, y, reduction="none")).sum() / logits.shape[1]
