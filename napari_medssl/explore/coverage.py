"""Which cells of a grid a drawn region covers, and how much of each."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from napari_medssl.dense.grid import FeatureGrid
from napari_medssl.errors import GeometryError
from napari_medssl.explore.cells import Floats, Mask
from napari_medssl.volume import Volume

_MOST_PARTS = 16  # parts of a voxel along one axis; beyond it voxels are so much larger than cells that nothing changes


def coverage(grid: FeatureGrid, region: Volume, value: int | None = None) -> Floats:
    """(Z, Y, X) share of each cell that the region fills, in [0, 1].

    region: a mask or label map on any voxel grid of the same patient space. value: the label to take; None for all
        that is not 0.

    Every voxel is divided into parts at most half a cell long, and each part counts for the cell it lies in. So no
    voxel within the field of the grid is lost, however small or thick, and the shares times the cells' volume add up
    to the region's volume (up to cells filled more than once through rounding, which stay at 1). Zero everywhere
    for an empty region or one beyond the grid.
    """
    step = np.linalg.solve(grid.affine[:3, :3], region.affine[:3, :3])  # cells per voxel
    offset = grid.index_of(region.affine[:3, 3])[0]
    parts = np.clip(np.ceil(2 * np.abs(step).max(0)), 1, _MOST_PARTS).astype(int)
    share = abs(np.linalg.det(step)) / parts.prod()
    inner = [(np.arange(n) + 0.5) / n - 0.5 for n in parts]
    shifts = np.stack(np.meshgrid(*inner, indexing="ij"), -1).reshape(-1, 3) @ step.T
    counts = np.zeros(int(np.prod(grid.shape)))
    for z, plane in enumerate(region.data):
        drawn = np.argwhere(plane != 0 if value is None else plane == value)
        if not len(drawn):
            continue
        centres = np.column_stack([np.full(len(drawn), z), drawn]) @ step.T + offset
        for shift in shifts:
            counts += _counted(grid, centres + shift)
    return np.asarray(np.minimum(counts * share, 1.0).reshape(grid.shape), np.float32)


def _counted(grid: FeatureGrid, index: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    cell = np.floor(index + 0.5).astype(np.int64)
    inside = ((cell >= 0) & (cell < grid.shape)).all(1)
    flat = np.ravel_multi_index(tuple(cell[inside].T), grid.shape)
    return np.bincount(flat, minlength=int(np.prod(grid.shape)))


def cells_in(grid: FeatureGrid, region: Volume, value: int | None = None, *, share: float = 0.5) -> Mask:
    """(Z, Y, X) bool: cells filled to at least `share` by the region; for a small one the cells filled most.

    Raises GeometryError when no part of the region lies in the grid's field.
    """
    filled = coverage(grid, region, value)
    most = float(filled.max())
    if most == 0:
        raise GeometryError("the region is empty or lies outside the field of the features; draw inside the scan")
    return np.asarray(filled >= min(share, most), bool)
