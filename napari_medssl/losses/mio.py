"""The three MIO losses: mutual information of positive pairs up, of negative pairs down."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_medssl.errors import SettingsError
from napari_medssl.losses.float32 import in_float32
from napari_medssl.losses.pairs import cosines, negative_mean, positives
from napari_medssl.losses.temperature import Constant, Temperature, scaled

TAU = Constant(0.2)
"""Temperature of all three (thesis 5.5.2)."""

LEAST_TAU_V3 = 0.1
"""Below it MIOv3 collapses: 38 % instead of 86 % of CIFAR-10 right at 0.07, where e^(1/tau) is 1.6 million (B5-20)."""


@in_float32
def mio_v1(z1: Tensor, z2: Tensor, temperature: Temperature = TAU) -> Tensor:
    """Mean over positive pairs of ln(1 + e^(-c/tau)) plus mean over negative pairs of ln(1 + e^(c/tau)).

    z1, z2: (N, D) embeddings of two views, N at least 2. Scalar. Source: thesis equations 5.12 and 5.13.
    """
    logits = scaled(cosines(z1, z2), temperature)
    return F.softplus(-positives(logits)).mean() + negative_mean(F.softplus(logits))


@in_float32
def mio_v2(z1: Tensor, z2: Tensor, temperature: Temperature = TAU) -> Tensor:
    """MIOv1 without the repulsion of positive pairs, the mean over them of ln(1 + e^(c/tau)) (equation 5.15).

    The partner's index in the text must read n' = n + N (B5-03).
    """
    logits = scaled(cosines(z1, z2), temperature)
    return negative_mean(F.softplus(logits)) - positives(logits).mean()


@in_float32
def mio_v3(z1: Tensor, z2: Tensor, temperature: Temperature = TAU) -> Tensor:
    """MIOv2 with the stronger repulsion e^(c/tau) of negative pairs, an upper bound of it (equation 5.21).

    The second line of equation 5.20 drops the means; 5.21 has them (B5-01). Raises SettingsError when the temperature
    can be below `LEAST_TAU_V3`.
    """
    refuse_low(temperature)
    logits = scaled(cosines(z1, z2), temperature)
    return negative_mean(torch.exp(logits)) - positives(logits).mean()


def refuse_low(temperature: Temperature) -> None:
    """Raise SettingsError when MIOv3 would collapse with this temperature."""
    if temperature.least < LEAST_TAU_V3:
        raise SettingsError(
            f"MIOv3 with a temperature of {temperature.least:g} collapses, because its repulsion grows with "
            f"e^(1/temperature); give at least {LEAST_TAU_V3:g} (published: {TAU.value:g}), or use MIOv1 or MIOv2"
        )
