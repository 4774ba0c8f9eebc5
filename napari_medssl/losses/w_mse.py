"""W-MSE: two views agree after their embeddings have been whitened over the batch."""

from __future__ import annotations

import torch
from torch import Tensor

from napari_medssl.losses.float32 import in_float32
from napari_medssl.losses.whitening import whiten


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
