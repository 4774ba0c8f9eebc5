"""InfoNCE of queries against keys that carry no gradient, one number for each query."""

from __future__ import annotations

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
