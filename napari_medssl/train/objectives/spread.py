"""Whether embeddings have collapsed, in one number."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


@torch.no_grad()
def spread(embeddings: Tensor) -> Tensor:
    """Scalar in [0, 1]: how far (B, D) embeddings of length 1 vary, 1 for directions spread evenly, 0 for one point.

    The mean over the dimensions of the standard deviation over the batch, times the root of D.

    Source: Chen and He, "Exploring Simple Siamese Representation Learning" (2021), section 4.1, where 1 / sqrt(D) tells
    that nothing has collapsed; the factor, which makes widths comparable, is ours. A line, such as z and -z alone,
    still gives up to 1: dimensional collapse needs the effective rank.
    """
    directions = F.normalize(embeddings.float(), dim=1)
    deviation: Tensor = directions.std(0, correction=0).mean()
    return deviation * math.sqrt(embeddings.shape[1])
