"""Decoupled contrastive losses: partners attract each other however near the negatives are."""

from __future__ import annotations

import torch
from torch import Tensor

from napari_medssl.losses.float32 import in_float32
from napari_medssl.losses.pairs import cosines, negative, positives
from napari_medssl.losses.temperature import Temperature, scaled

DCLW_SIGMA = 0.5
"""Width of the weights of DCLW (Yeh et al., 2022)."""


@in_float32
def dcl(z1: Tensor, z2: Tensor, temperature: Temperature) -> Tensor:
    """InfoNCE without the positive pair in its denominator: mean of -c+/tau + ln sum over negatives of e^(c/tau).

    z1, z2: (N, D) embeddings of two views, N at least 2. Scalar. temperature: as of `info_nce` (S50).

    Source: Yeh et al. (2022), general knowledge; the thesis (5.5.2, 6.5) runs it without giving a formula.
    """
    logits = scaled(cosines(z1, z2), temperature)
    return (_log_negatives(logits) - positives(logits)).mean()


@in_float32
def dclw(z1: Tensor, z2: Tensor, temperature: Temperature, *, sigma: float = DCLW_SIGMA) -> Tensor:
    """DCL that pulls more at positive pairs that are far apart.

    The attraction is weighted by 2 - e^(c+/sigma) / (mean over the batch of e^(c+/sigma)), which is 1 on average.
    The weight is a constant to the gradient: it says how hard to pull, and is nothing to be optimised (our choice; the
    seeds have no formula).
    """
    c = cosines(z1, z2)
    logits = scaled(c, temperature)
    return (_log_negatives(logits) - partner_weights(positives(c), sigma) * positives(logits)).mean()


def partner_weights(c: Tensor, sigma: float) -> Tensor:
    """(2N,) weights with mean 1 of positive pairs with these cosines, without a gradient."""
    near = torch.exp(c.detach() / sigma)
    return 2 - near / near.mean()


def _log_negatives(logits: Tensor) -> Tensor:
    """(2N,) ln of the sum of e^logit over each row's 2N - 2 negatives."""
    return logits.masked_fill(~negative(logits), -torch.inf).logsumexp(1)
