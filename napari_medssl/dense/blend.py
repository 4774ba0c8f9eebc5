"""The features of overlapping windows averaged row by row, while windows come from the bottom up."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from napari_medssl.dense.settings import Blend
from napari_medssl.dense.windows import Triple, Windows, outer, shares


class StageBlend:
    """The grid of one stage, of which only the rows that windows still add to are in memory.

    stride: voxels per cell. channels: length of a vector. shape: cells of the padded scan along Z, Y, X.
    """

    def __init__(self, windows: Windows, *, stride: int, channels: int, blend: Blend) -> None:
        self.stride, self.channels = stride, channels
        self.shape: Triple = tuple(n // stride for n in windows.scan)  # type: ignore[assignment]  # three axes
        self._size = [n // stride for n in windows.size]
        self._at = [{s: i for i, s in enumerate(starts)} for starts in windows.starts]
        self._shares = [
            shares([s // stride for s in starts], size, total, blend)
            for starts, size, total in zip(windows.starts, self._size, self.shape, strict=True)
        ]
        self._first = 0
        self._rows = torch.zeros((channels, 0, *self.shape[1:]))

    def add(self, features: Tensor, corner: Sequence[int]) -> None:
        """Add (C, z, y, x) float32 features of the window whose first voxel is `corner`."""
        z, y, x = (c // self.stride for c in corner)
        depth, height, width = self._size
        self.reserve(corner)
        part = self._rows[:, z - self._first : z - self._first + depth, y : y + height, x : x + width]
        part.addcmul_(features, outer([s[at[c]] for s, at, c in zip(self._shares, self._at, corner, strict=True)]))

    def take(self, below_voxel: int) -> Tensor:
        """(C, rows, Y, X) float32: the rows below this voxel that were not taken yet; they are final, and given away.

        below_voxel: first voxel of the lowest window that is still to come.
        """
        stop = min(below_voxel // self.stride, self.shape[0])
        count = max(0, stop - self._first)
        taken, kept = self._rows[:, :count], self._rows[:, count:]
        if count:
            self._rows = kept.clone()
            self._first += count
        return taken

    def reserve(self, corner: Sequence[int]) -> None:
        """Have memory for the rows of this window."""
        missing = corner[0] // self.stride + self._size[0] - self._first - self._rows.shape[1]
        if missing > 0:
            fresh = torch.zeros((self.channels, missing, *self.shape[1:]))
            self._rows = torch.cat([self._rows, fresh], 1) if self._rows.shape[1] else fresh
