"""Where windows lie over a scan, and how much each counts where they overlap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from monai.data.utils import compute_importance_map, dense_patch_slices

from napari_medssl.dense.settings import Blend

Triple: TypeAlias = tuple[int, int, int]


@dataclass(frozen=True)
class Windows:
    """Equal windows that cover a scan.

    size: voxels of a window along Z, Y, X. scan: voxels of the padded scan, multiples of the encoder's deepest stride.
    starts: for Z, Y and X the first voxels of the windows along it; windows lie at every combination.
    """

    size: Triple
    scan: Triple
    starts: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]

    @property
    def corners(self) -> list[Triple]:
        """First voxels of all windows, Z slowest."""
        zs, ys, xs = self.starts
        return [(z, y, x) for z in zs for y in ys for x in xs]


def place_windows(shape: Triple, stride: int, *, patch: Sequence[int], most: int, overlap: float) -> Windows:
    """Windows over a scan of `shape` voxels.

    stride: of the deepest stage; sizes and starts are multiples of it, so that the cells of all windows coincide.
    patch: wished sizes along Z, Y, X; a window larger than the padded scan is as large as the scan. 0: the size with
        which the fewest windows of at most `most` voxels cover the scan (ours), for every window too many costs as much
        as one that is needed.
    overlap: least share of a window that its neighbour covers.
    """
    scan = tuple(stride * -(-n // stride) for n in shape)
    size = tuple(
        _whole(p, n, stride) if p else _fitting(n, stride, most, overlap) for p, n in zip(patch, scan, strict=True)
    )
    intervals = [_interval(p, stride, overlap) for p in size]
    corners = np.array(dense_patch_slices(scan, size, intervals, return_slice=False))[:, :, 0]
    starts = tuple(tuple(int(v) for v in np.unique(corners[:, axis])) for axis in range(3))
    return Windows(_triple(size), _triple(scan), starts)  # type: ignore[arg-type]  # three axes


def shares(starts: Sequence[int], size: int, total: int, blend: Blend) -> npt.NDArray[np.float32]:
    """(windows, size) float32: what each cell of each window along one axis counts; for every cell they sum to 1.

    starts, size, total: in cells. MONAI's importance map along one axis, divided by the sum of all windows: the product
    over three axes is its weighted average, without a map of counts and axis by axis. MONAI raises weights below 0.001
    of the whole map, so that along the border of a scan the middle and the edge of windows count alike; here (ours)
    those along each axis are raised, which keeps the middle ahead.
    """
    one = compute_importance_map((size,), mode=blend).numpy()
    sums = np.zeros(total)
    for start in starts:
        sums[start : start + size] += one
    return np.stack([one / sums[start : start + size] for start in starts]).astype(np.float32)


def outer(parts: Sequence[npt.NDArray[np.float32]]) -> torch.Tensor:
    """(Z, Y, X) float32: the product of weights along three axes."""
    z, y, x = (torch.from_numpy(np.ascontiguousarray(p)) for p in parts)
    return z[:, None, None] * y[:, None] * x


def _whole(patch: int, n: int, stride: int) -> int:
    return min(n, stride * max(1, round(patch / stride)))


def _interval(size: int, stride: int, overlap: float) -> int:
    return max(stride, int(size * (1 - overlap)) // stride * stride)


def _fitting(n: int, stride: int, most: int, overlap: float) -> int:
    if n <= most:
        return n
    most = max(stride, most // stride * stride)
    count = 1 + -(-(n - most) // _interval(most, stride, overlap))
    return next(
        size for size in range(stride, most + 1, stride) if size + (count - 1) * _interval(size, stride, overlap) >= n
    )


def _triple(values: Sequence[int]) -> Triple:
    z, y, x = (int(v) for v in values)
    return z, y, x
