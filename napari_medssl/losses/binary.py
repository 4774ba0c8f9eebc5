"""Binary contrastive learning: is a pair of views of the same slice, yes or no?"""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch.nn.functional as F
from torch import Tensor

from napari_medssl.losses.float32 import in_float32
from napari_medssl.losses.infonce import partner_cross_entropy
from napari_medssl.losses.pairs import cosines, negative_mean, positives
from napari_medssl.losses.temperature import Constant, Temperature, scaled, temperatures

TAU, TAU_CONTR = Constant(0.25), Constant(0.33)
"""Temperatures of the binary and of the Euclidean loss (thesis 4.5.2.1)."""

Reduction: TypeAlias = Literal["pairs", "printed", "balanced"]


@in_float32
def binary_contrastive(
    z1: Tensor, z2: Tensor, temperature: Temperature = TAU, *, reduction: Reduction = "pairs"
) -> Tensor:
    """Binary cross-entropy of p = sigmoid(c / tau) over the positive and negative pairs of a batch.

    z1, z2: (N, D) embeddings of two views, N at least 2. Scalar.
    reduction: "pairs" is the mean over the 4 N^2 - 2N pairs that are not of a view with itself; "printed" divides by
    4 N^2 as in equation 4.14, which is less than 1 % off at N = 64 (B4-04); "balanced" adds the mean over the positive
    pairs to the mean over the negative ones, as equation 4.18 does, and is MIOv1 (B4-05).

    With "pairs" one positive pair counts as much as one negative pair, of which there are 2N - 2 times as many: the
    thesis sets the ratio nu of the priors to 1. Source: thesis equation 4.14; the second line of equation 4.12 has the
    sign of the negatives wrong (B4-01).
    """
    logits = scaled(cosines(z1, z2), temperature)
    same, different = F.softplus(-positives(logits)).mean(), negative_mean(F.softplus(logits))
    if reduction == "balanced":
        return same + different
    views = len(logits)
    total = views * same + views * (views - 2) * different
    return total / (views * views if reduction == "printed" else views * (views - 1))


@in_float32
def euclidean_info_nce(z1: Tensor, z2: Tensor, temperature: Temperature = TAU_CONTR) -> Tensor:
    """L_Contr: InfoNCE with -||z - z'||^2 in place of the cosine (thesis equation 4.17).

    The thesis does not say whether z is normalised; here it is, so that the squared distance is 2 - 2c (B4-13). With a
    constant temperature this is InfoNCE at half of it.
    """
    c = cosines(z1, z2)
    return partner_cross_entropy((2 * c - 2) / temperatures(c, temperature))


@in_float32
def combo(
    z1: Tensor,
    z2: Tensor,
    temperature: Temperature = TAU,
    contr_temperature: Temperature = TAU_CONTR,
    *,
    weight: float = 1.0,
    reduction: Reduction = "balanced",
) -> Tensor:
    """L_Combo: the binary loss plus `weight` times L_Contr (thesis equation 4.18).

    The text says "linear combination" and prints the weights 1 and 1 (B4-06). The equation averages positive and
    negative pairs apart, unlike the binary loss that it names (B4-05); `reduction` chooses.
    """
    pairs = binary_contrastive(z1, z2, temperature, reduction=reduction)
    contr: Tensor = euclidean_info_nce(z1, z2, contr_temperature)
    return pairs + weight * contr
