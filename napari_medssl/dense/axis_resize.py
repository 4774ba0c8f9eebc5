"""Resampling along one axis as a matrix, so that any part of a scan can be resampled without the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor

_BLOCK = 64  # outputs per product: each depends on few inputs, so that most of a larger matrix would be zeros
_TINY = 1e-7  # of a weight: what the Gaussian leaves far away


@dataclass(frozen=True, eq=False)
class AxisResize:
    """From `n_in` samples along an axis to `n_out` over the same length.

    matrix: (n_out, n_in) float32; rows sum to 1.
    """

    matrix: npt.NDArray[np.float32]

    @property
    def n_in(self) -> int:
        """Samples before."""
        return int(self.matrix.shape[1])

    @property
    def n_out(self) -> int:
        """Samples after."""
        return int(self.matrix.shape[0])

    @property
    def unchanged(self) -> bool:
        """Whether every sample stays what it is."""
        return self.n_in == self.n_out and bool(np.array_equal(self.matrix, np.eye(self.n_in, dtype=np.float32)))

    def span(self, start: int, stop: int) -> tuple[int, int]:
        """Half-open range of the inputs that the outputs start..stop depend on."""
        used = np.flatnonzero(np.abs(self.matrix[start:stop]).max(0) > _TINY)
        return int(used[0]), int(used[-1]) + 1

    def rows(self, start: int, stop: int) -> Tensor:
        """(stop - start, inputs of `span`) float32: the weights of those outputs."""
        low, high = self.span(start, stop)
        return torch.from_numpy(np.ascontiguousarray(self.matrix[start:stop, low:high]))

    def last(self, data: Tensor) -> Tensor:
        """(..., n_in) to (..., n_out)."""
        if self.unchanged:
            return data
        return torch.cat([self._block(data, a) for a in range(0, self.n_out, _BLOCK)], -1)

    def last_but_one(self, data: Tensor) -> Tensor:
        """(..., n_in, X) to (..., n_out, X)."""
        if self.unchanged:
            return data
        parts = []
        for a in range(0, self.n_out, _BLOCK):
            low, high = self.span(a, min(a + _BLOCK, self.n_out))
            parts.append(torch.matmul(self.rows(a, min(a + _BLOCK, self.n_out)), data[..., low:high, :]))
        return torch.cat(parts, -2)

    def _block(self, data: Tensor, start: int) -> Tensor:
        stop = min(start + _BLOCK, self.n_out)
        low, high = self.span(start, stop)
        return torch.matmul(data[..., low:high], self.rows(start, stop).T)


def resize_axis(n_in: int, n_out: int) -> AxisResize:
    """Linear interpolation at the centres of the new samples, after a Gaussian when there are fewer of them.

    The same numbers as scikit-image's `resize(order=1, anti_aliasing=True)`, with which scans are prepared for
    training: standard deviation (n_in / n_out - 1) / 2 samples, mirrored ends.
    """
    factor = n_in / n_out
    identity = np.eye(n_in)
    smooth = ndimage.gaussian_filter1d(identity, (factor - 1) / 2, axis=0, mode="mirror") if factor > 1 else identity
    centres = (np.arange(n_out) + 0.5) * factor - 0.5
    return AxisResize(np.asarray(_linear(centres, n_in, mirrored=True) @ smooth, np.float32))


def sample_axis(centres: npt.NDArray[np.floating[Any]], n_in: int) -> AxisResize:
    """Linear interpolation at fractional positions along `n_in` samples; beyond the ends the last sample."""
    return AxisResize(np.asarray(_linear(centres, n_in, mirrored=False), np.float32))


def _linear(centres: npt.NDArray[np.floating[Any]], n: int, *, mirrored: bool) -> npt.NDArray[np.float64]:
    """(len(centres), n): rows that interpolate between the two samples around each position."""
    top = n - 1
    if mirrored and top:
        centres = np.abs(centres)
        centres = np.where(centres > top, 2 * top - centres, centres)
    centres = np.clip(centres, 0, top)
    low = np.minimum(np.floor(centres).astype(int), max(0, top - 1))
    share = centres - low
    matrix = np.zeros((len(centres), n))
    index = np.arange(len(centres))
    matrix[index, low] = 1 - share
    matrix[index, np.minimum(low + 1, top)] += share
    return matrix
