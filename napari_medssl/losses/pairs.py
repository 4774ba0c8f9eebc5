"""All pairs that the two views of a batch can form: cosine similarities and who belongs to whom."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_medssl.errors import SettingsError
from napari_medssl.losses.float32 import in_float32


@in_float32
def cosines(z1: Tensor, z2: Tensor) -> Tensor:
    """(2N, 2N) cosine similarities of the (N, D) embeddings of two views; rows n and n + N are partners.

    Of the 4 N^2 ordered pairs 2N are a row with itself, 2N are positive (partners) and 4 N^2 - 4N are negative.
    The thesis counts the self pairs of 128 views as 256 and would so discard the positives too (B4-03); it writes the
    similarity of the images where it means that of their projected features (B4-08).

    Raises SettingsError for fewer than two examples, which have no negative pair, ValueError for unlike shapes.
    Source: thesis section 4.2, after Chen et al. (2020).
    """
    if z1.shape != z2.shape or z1.ndim != 2:
        raise ValueError(f"embeddings of shapes {tuple(z1.shape)} and {tuple(z2.shape)}; two of (N, D) are needed")
    if len(z1) < 2:
        raise SettingsError("a batch of one example has no negative pairs; give a batch of at least 2 per part")
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    return z @ z.T


def positives(matrix: Tensor) -> Tensor:
    """(2N,) entry of every row at its partner, from a (2N, 2N) matrix of pairs."""
    n = len(matrix) // 2
    return torch.cat([matrix.diagonal(n), matrix.diagonal(-n)])


def not_self(matrix: Tensor) -> Tensor:
    """(2N, 2N) bool: every pair of different rows."""
    return ~torch.eye(len(matrix), dtype=torch.bool, device=matrix.device)


def negative(matrix: Tensor) -> Tensor:
    """(2N, 2N) bool: every pair of different rows that are not partners."""
    rows = torch.arange(len(matrix), device=matrix.device)
    source = rows % (len(matrix) // 2)
    return source[:, None] != source[None, :]


def negative_mean(matrix: Tensor) -> Tensor:
    """Mean over the 4 N^2 - 4N negative pairs of a (2N, 2N) matrix."""
    count = len(matrix) * (len(matrix) - 2)
    return matrix.masked_fill(~negative(matrix), 0.0).sum() / count
