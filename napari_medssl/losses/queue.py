"""InfoNCE of a query against its key and the keys of earlier batches."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_medssl.losses.float32 import in_float32


@in_float32
def queue_infonce(queries: Tensor, keys: Tensor, queue: Tensor, *, temperature: float = 0.07) -> Tensor:
    """Scalar: mean over the batch of -log p(the query's own key among it and the queue).

    queries, keys: (B, D), row by row two views of the same image. queue: (K, D) keys of other images. All are brought
    to length 1 here. Only `queries` should carry a gradient.

    Source: He et al., "Momentum Contrast" (2020), Eq. 1; thesis 5.5.2 runs it with temperature 0.07.
    """
    q, k, others = F.normalize(queries, dim=1), F.normalize(keys, dim=1), F.normalize(queue, dim=1)
    own = (q * k).sum(1, keepdim=True)  # (B, 1)
    logits = torch.cat([own, q @ others.T], 1) / temperature  # (B, 1 + K)
    return F.cross_entropy(logits, torch.zeros(len(q), dtype=torch.long, device=q.device))
