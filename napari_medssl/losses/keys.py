"""InfoNCE of queries against keys that carry no gradient: those of the batch, or a queue of earlier ones."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_medssl.losses.float32 import in_float32


@in_float32
def key_infonce(queries: Tensor, keys: Tensor, own: Tensor, *, temperature: float = 0.07) -> Tensor:
    """(B,) -log p(a query's own key among all keys).

    queries: (B, D). keys: (M, D), M at least B, all keys of the batch and of every process. own: (B,) int64, the row of
    each query's own key. Queries and keys are brought to length 1 here.

    Source: paper 002, Eq. 11, with a temperature (B2-11). Left as a number for each query, so that a mixed query can be
    held against both of its keys in proportion.
    """
    cosines = F.normalize(queries, dim=1) @ F.normalize(keys, dim=1).T
    return F.cross_entropy(cosines / temperature, own, reduction="none")


@in_float32
def queue_infonce(queries: Tensor, keys: Tensor, queue: Tensor, *, temperature: float = 0.07) -> Tensor:
    """Scalar: mean over the batch of -log p(the query's own key among it and the queue).

    queries, keys: (B, D), row by row two views of the same image. queue: (K, D) keys of other images. All are brought
    to length 1 here. Only `queries` should carry a gradient.

    Source: He et al., "Momentum Contrast" (2020), Eq. 1; thesis 5.5.2 runs it with temperature 0.07.
    """
    logits = own_and_others(queries, keys, queue, temperature)
    return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=logits.device))


def own_and_others(queries: Tensor, own: Tensor, others: Tensor, temperature: float) -> Tensor:
    """(B, 1 + K) cosines over the temperature: of (B, D) queries with their own (B, D) key, then with (K, D) others."""
    q, k, rest = (F.normalize(rows, dim=1) for rows in (queries, own, others))
    return torch.cat([(q * k).sum(1, keepdim=True), q @ rest.T], 1) / temperature
