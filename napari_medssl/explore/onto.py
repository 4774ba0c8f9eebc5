"""A field of a feature grid on the voxels of a scan."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_medssl.dense.grid import FeatureGrid
from napari_medssl.errors import GeometryError, SettingsError
from napari_medssl.explore.cells import finite
from napari_medssl.progress import Progress, Steps, finish
from napari_medssl.volume import Affine, Volume

_Index: TypeAlias = npt.NDArray[np.int64]

_ALIGNED = 1e-6  # cells of drift over the whole scan below which two grids' axes are parallel
_SLAB_VOXELS = 1 << 22  # of one channel


def onto_volume(
    field: npt.ArrayLike, grid: FeatureGrid, volume: Volume, *, order: Literal[0, 1] = 1, fill: float = 0
) -> np.ndarray:
    """A field of the grid's cells at the voxels of a scan.

    field: (Z, Y, X) or (Z, Y, X, K) over the grid's cells: a map, labels, colours. order: 0 takes the nearest cell and
    keeps the type (labels, masks); 1 interpolates and gives float32, with 0 for what is no finite number. fill: where
    the voxel's centre lies outside all cells; within half a cell beyond the outermost centres the border goes on.

    Returns (Z, Y, X) or (Z, Y, X, K) on the volume's grid. Right for any affines, oblique and sheared ones too; when
    the axes are parallel (turned or flipped by quarter turns), each is interpolated on its own, some ten times faster.

    Raises GeometryError when the field does not fit the grid, SettingsError for another order.
    """
    return finish(onto_volume_steps(field, grid, volume, order=order, fill=fill))


def onto_volume_steps(
    field: npt.ArrayLike, grid: FeatureGrid, volume: Volume, *, order: Literal[0, 1] = 1, fill: float = 0
) -> Steps[np.ndarray]:
    """`onto_volume`, reporting after each slab of slices."""
    values = np.asarray(field)
    if values.shape[:3] != grid.shape or values.ndim not in (3, 4):
        raise GeometryError(f"a field of shape {values.shape} does not fit a grid of {grid.shape} cells")
    if order not in (0, 1):
        raise SettingsError(f"order is {order}; it must be 0 (nearest cell) or 1 (interpolated)")
    channels = values[..., None] if values.ndim == 3 else values
    kind = channels.dtype if order == 0 else np.dtype(np.float32)
    channels = finite(channels) if order == 1 else channels  # one NaN would spread along its whole row
    found = np.empty((*volume.shape, channels.shape[-1]), kind)
    step = np.linalg.inv(grid.affine) @ volume.affine  # voxel index to cell index
    way = _Parallel if _parallel(step, volume) else _Oblique
    sampler = way(channels, step, volume.shape, order)
    height = max(1, _SLAB_VOXELS // (volume.shape[1] * volume.shape[2]))
    for low in range(0, volume.shape[0], height):
        high = min(low + height, volume.shape[0])
        sampler.fill_slab(found[low:high], low, fill)
        yield Progress(high, volume.shape[0], "placing on the scan")
    return found[..., 0] if values.ndim == 3 else found


def _parallel(step: Affine, volume: Volume) -> bool:
    """Whether each cell axis runs along one voxel axis, so that its drift along the two others is nothing."""
    drift = np.abs(step[:3, :3]) * np.array(volume.shape)
    main = np.abs(step[:3, :3]).argmax(1)
    rest = drift.copy()
    rest[np.arange(3), main] = 0
    return len(set(main.tolist())) == 3 and bool(rest.max() < _ALIGNED * max(1.0, drift.max()) + 1e-4)


class _Parallel:
    """Axis by axis: a mean of two neighbours (order 1) or a selection (order 0)."""

    def __init__(self, field: np.ndarray, step: Affine, shape: tuple[int, int, int], order: int) -> None:
        main = np.abs(step[:3, :3]).argmax(1)  # the voxel axis each cell axis follows
        turn = [int(np.flatnonzero(main == axis)[0]) for axis in range(3)]  # the cell axis for each voxel axis
        self.field = np.ascontiguousarray(field.transpose(3, *turn))  # (K, z, y, x) in the volume's axis order
        self.order = order
        self.index = [step[cell, axis] * np.arange(shape[axis]) + step[cell, 3] for axis, cell in enumerate(turn)]
        self.inside = [_within(i, n) for i, n in zip(self.index, self.field.shape[1:], strict=True)]
        if order == 1:
            self.between = [_between(i, n) for i, n in zip(self.index, self.field.shape[1:], strict=True)]
        else:
            self.chosen = [_nearest(i, n) for i, n in zip(self.index, self.field.shape[1:], strict=True)]

    def fill_slab(self, out: np.ndarray, low: int, fill: float) -> None:
        inside = (self.inside[0][low : low + len(out)], *self.inside[1:])
        for channel, field in enumerate(self.field):
            for n in range(len(out)):
                out[n, ..., channel] = self._plane(field, low + n) if inside[0][n] else fill
        out[:, ~inside[1]] = fill
        out[:, :, ~inside[2]] = fill

    def _plane(self, field: np.ndarray, z: int) -> np.ndarray:
        if self.order == 0:
            return np.asarray(field[self.chosen[0][z]][np.ix_(self.chosen[1], self.chosen[2])])
        # Along X while there are few rows, then whole rows along Y: no product of matrices, which threads would share.
        (low_z, high_z, part_z), (low_y, high_y, part_y), (low_x, high_x, part_x) = self.between
        plane = _mean(field[low_z[z]], field[high_z[z]], part_z[z])
        wide = _mean(plane[:, low_x], plane[:, high_x], part_x)
        return _mean(wide[low_y], wide[high_y], part_y[:, None])


def _mean(low: np.ndarray, high: np.ndarray, part: Any) -> np.ndarray:
    return np.asarray(low + part * (high - low))


class _Oblique:
    """Interpolation at coordinates, for grids turned against each other."""

    def __init__(self, field: np.ndarray, step: Affine, shape: tuple[int, int, int], order: int) -> None:
        self.field, self.step, self.shape, self.order = np.moveaxis(field, -1, 0), step, shape, order

    def fill_slab(self, out: np.ndarray, low: int, fill: float) -> None:
        z = np.arange(low, low + len(out))[:, None, None]
        y, x = np.arange(self.shape[1])[:, None], np.arange(self.shape[2])
        index = np.stack([s[0] * z + s[1] * y + s[2] * x + s[3] for s in self.step[:3]])
        inside = np.all([_within(i, n) for i, n in zip(index, self.field.shape[1:], strict=True)], 0)
        if self.order == 0:
            chosen = tuple(_nearest(i, n) for i, n in zip(index, self.field.shape[1:], strict=True))
        for channel, field in enumerate(self.field):
            found = field[chosen] if self.order == 0 else ndimage.map_coordinates(field, index, order=1, mode="nearest")
            out[..., channel] = np.where(inside, found, np.asarray(fill, out.dtype))


def _within(index: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.bool_]:
    return np.asarray((index >= -0.5 - 1e-6) & (index <= count - 0.5 + 1e-6))


def _nearest(index: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.int64]:
    return np.clip(np.floor(index + 0.5), 0, count - 1).astype(np.int64)


def _between(index: npt.NDArray[np.float64], count: int) -> tuple[_Index, _Index, npt.NDArray[np.float32]]:
    """(N,) the cells before and after each voxel and how far it is between them; the border's beyond the outermost."""
    at = np.clip(index, 0, count - 1)
    low = np.clip(np.floor(at), 0, max(0, count - 2)).astype(np.int64)
    return low, np.minimum(low + 1, count - 1), (at - low).astype(np.float32)
