"""Cells averaged to coarser ones, row by row."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_medssl.dense.windows import Triple


def pooling_factors(spacing_mm: tuple[float, float, float], cell_mm: float) -> Triple:
    """How many cells along Z, Y, X make one of about `cell_mm`; 1 where cells are that large already, or for 0."""
    z, y, x = (max(1, round(cell_mm / s)) for s in spacing_mm)
    return z, y, x


class Pooling:
    """Means over boxes of cells; at the far ends over what is left of a box.

    factors: cells of a box along Z, Y, X.
    """

    def __init__(self, factors: Triple) -> None:
        self._factors = factors
        self._left: Tensor | None = None

    def shape(self, cells: Triple) -> Triple:
        """Boxes along Z, Y, X."""
        z, y, x = (-(-n // f) for n, f in zip(cells, self._factors, strict=True))
        return z, y, x

    def add(self, rows: Tensor, *, last: bool = False) -> Tensor:
        """(C, n, Y, X) rows to the (C, m, Y', X') rows of boxes they complete; `last`: no more rows will come."""
        if self._factors == (1, 1, 1):
            return rows
        rows = rows if self._left is None else torch.cat([self._left, rows], 1)
        depth = self._factors[0]
        whole = rows.shape[1] if last else rows.shape[1] // depth * depth
        self._left = rows[:, whole:].clone()
        return _means(rows[:, :whole], self._factors)


def _means(rows: Tensor, factors: Triple) -> Tensor:
    z, y, x = (-n % f for n, f in zip(rows.shape[1:], factors, strict=True))
    if not rows.shape[1]:
        return rows.new_empty((len(rows), 0, (rows.shape[2] + y) // factors[1], (rows.shape[3] + x) // factors[2]))
    beyond = (0, x, 0, y, 0, z)
    means = F.avg_pool3d(F.pad(rows, beyond)[None], factors)[0]
    if not any(beyond):
        return means
    inside = F.avg_pool3d(F.pad(torch.ones_like(rows[:1]), beyond)[None], factors)[0]
    return means / inside  # of a box that sticks out, over the cells inside
