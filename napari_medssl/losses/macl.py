"""Model-aware contrastive learning: a temperature that follows the alignment, and gradients that do not fade."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_medssl.losses.float32 import in_float32
from napari_medssl.losses.pairs import cosines, negative, positives
from napari_medssl.losses.temperature import AlignmentTemperature, Temperature, scaled

TAU = AlignmentTemperature()
"""Base 0.1, alpha 0.5, start 0 (Huang et al., 2023)."""


@in_float32
def macl(z1: Tensor, z2: Tensor, temperature: Temperature = TAU) -> Tensor:
    """InfoNCE whose terms -ln P are weighted by 1 / (1 - P), P the partner's share; the weight has no gradient.

    InfoNCE pulls at a positive pair in proportion to 1 - P, which fades with few negatives; the weight undoes that, so
    that the gradient is the one of DCL, whose value differs. z1, z2: (N, D) embeddings, N at least 2. Scalar.
    `info_nce` with an `AlignmentTemperature` is MACL without the weights.

    Source: Huang et al. (2023), general knowledge; the thesis runs MACL (6.5) without giving a formula.
    """
    logits = scaled(cosines(z1, z2), temperature)
    repelled = logits.masked_fill(~negative(logits), -torch.inf).logsumexp(1)
    lead = positives(logits) - repelled  # P = sigmoid(lead), which is 1 in float32 long before the weight overflows
    return (F.softplus(-lead) * (1 + torch.exp(lead)).detach()).mean()
