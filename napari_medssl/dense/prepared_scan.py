"""A scan as a volume encoder sees it, slab by slab: windowed to [0, 1] and resampled to cubic voxels."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_medssl.dense.axis_resize import resize_axis
from napari_medssl.intensity import IntensitySettings, to_unit, window_limits
from napari_medssl.volume import Volume

_MOST_VOXELS = 1 << 24  # 256^3: what a scan is brought down to when nothing says which voxels the encoder knows


def own_spacing(volume: Volume) -> float:
    """Side in mm of the cubic voxels for an encoder that names none (ours).

    The finest spacing of the scan, so that thin slices keep their detail and thick ones are interpolated, but no finer
    than 256 x 256 x 256 voxels of that size fill.
    """
    millilitres = math.prod(n * s for n, s in zip(volume.shape, volume.spacing_mm, strict=True))
    return max(min(volume.spacing_mm), float((millilitres / _MOST_VOXELS) ** (1 / 3)))


def resampled_shape(volume: Volume, spacing_mm: float) -> tuple[int, int, int]:
    """Voxels along Z, Y, X at this spacing; as scans are prepared for training."""
    z, y, x = (max(1, round(n * s / spacing_mm)) for n, s in zip(volume.shape, volume.spacing_mm, strict=True))
    return z, y, x


class PreparedScan:
    """Slabs of a scan in [0, 1] on cubic voxels; never the whole of it in floating point.

    The same window and interpolation as in `train.grid`, but not rounded to 8 bits. Ask for slabs from the bottom up:
    slices that lie below the last slab are forgotten.

    shape: voxels along Z, Y, X on the new grid, whose first voxel's outer corner is the scan's.
    """

    def __init__(self, volume: Volume, spacing_mm: float, intensity: IntensitySettings) -> None:
        self._volume = volume
        self._limits = window_limits(volume, intensity)
        self.shape = resampled_shape(volume, spacing_mm)
        self._axes = [resize_axis(n, m) for n, m in zip(volume.shape, self.shape, strict=True)]
        self._slices: dict[int, Tensor] = {}

    def slab(self, start: int, size: tuple[int, int, int]) -> Tensor:
        """(size) float32 from row `start`; beyond the scan 0, the lower end of the window."""
        stop = min(start + size[0], self.shape[0])
        z = self._axes[0]
        low, high = z.span(start, stop)
        self._take(low, high)
        rows = torch.stack([self._slices[i] for i in range(low, high)])
        if not z.unchanged:
            rows = torch.tensordot(z.rows(start, stop), rows, dims=1)
        _, rows_y, rows_x = rows.shape
        return F.pad(rows, (0, size[2] - rows_x, 0, size[1] - rows_y, 0, size[0] - (stop - start)))

    def _take(self, low: int, high: int) -> None:
        """Have the slices low..high of the scan ready, resampled within their plane; forget those below."""
        y, x = self._axes[1:]
        self._slices = {i: plane for i, plane in self._slices.items() if i >= low}
        for i in range(low, high):
            if i not in self._slices:
                unit = torch.from_numpy(to_unit(self._volume.data[i], self._limits))
                self._slices[i] = y.last_but_one(x.last(unit))
