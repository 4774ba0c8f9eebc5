"""InfoNCE, the loss of SimCLR, on the pairs within a batch."""

from __future__ import annotations

import torch
from torch import Tensor

from napari_medssl.losses.float32 import in_float32
from napari_medssl.losses.pairs import cosines, not_self, positives
from napari_medssl.losses.temperature import Temperature, scaled


@in_float32
def info_nce(z1: Tensor, z2: Tensor, temperature: Temperature) -> Tensor:
    """Mean over the 2N views of -ln of the partner's share among the 2N - 1 other views.

    z1, z2: (N, D) embeddings of two views, N at least 2; only their directions count. Scalar, in float32 at least.
    temperature: of each pair, positive and negative; a profile makes it DySTreSS (thesis 6.4.2).

    Source: thesis equations 4.2 and 6.1, Chen et al. (2020). The denominator is the anchor's own: equation 4.5 sums
    over all pairs of the batch, having lost the anchor on the way (B4-09).
    """
    return partner_cross_entropy(scaled(cosines(z1, z2), temperature))


def partner_cross_entropy(logits: Tensor) -> Tensor:
    """Mean cross-entropy of picking the partner by (2N, 2N) logits among all rows but oneself."""
    others = logits.masked_fill(~not_self(logits), -torch.inf)
    return (others.logsumexp(1) - positives(logits)).mean()
