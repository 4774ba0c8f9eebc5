"""PIRL: image and puzzle are both told apart from other images by the memory of the image."""

from __future__ import annotations

import torch
from torch import Tensor

from napari_medssl.losses.float32 import in_float32
from napari_medssl.losses.keys import own_and_others

_ALMOST_1 = 1 - 1e-6  # a negative that takes all the probability costs a finite amount


@in_float32
def bank_nce(embedding: Tensor, memory: Tensor, bank: Tensor, *, temperature: float = 0.07) -> Tensor:
    """Scalar: mean over the batch of -log h(own memory) - sum over the bank of log(1 - h(other)).

    embedding: (B, D). memory: (B, D), what is remembered of the same images. bank: (K, D), of others. h: softmax over
    own memory and bank of the cosines over the temperature. All are brought to length 1 here.

    Source: Misra and van der Maaten, "Self-Supervised Learning of Pretext-Invariant Representations" (2020), Eqs. 3
    and 4, temperature 0.07.
    """
    logits = own_and_others(embedding, memory, bank, temperature)
    refused = torch.log1p(-logits.softmax(1)[:, 1:].clamp(max=_ALMOST_1)).sum(1)
    return -(logits.log_softmax(1)[:, 0] + refused).mean()


@in_float32
def pirl(
    image: Tensor, puzzle: Tensor, memory: Tensor, bank: Tensor, *, temperature: float = 0.07, share: float = 0.5
) -> Tensor:
    """Scalar: share * `bank_nce` of the puzzles + (1 - share) * `bank_nce` of the images (PIRL, Eq. 5, lambda 0.5).

    image, puzzle, memory: (B, D), of the same images row by row. bank: (K, D). Only image and puzzle are trained.
    """
    transformed = bank_nce(puzzle, memory, bank, temperature=temperature)
    return share * transformed + (1 - share) * bank_nce(image, memory, bank, temperature=temperature)
