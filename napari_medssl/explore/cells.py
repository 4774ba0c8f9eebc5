"""Reading the vectors of a grid, in memory or on disk: in slabs, at chosen cells, from one space only."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_medssl.dense.grid import FeatureGrid
from napari_medssl.errors import GeometryError

Floats = npt.NDArray[np.float32]
Cells = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

SLAB_BYTES = 32 << 20
"""Vectors held at a time, as float32: large enough for fast matrix products, small beside a scan."""

SAMPLE = 60_000
"""Cells from which statistics are taken. Ours: means and covariances of so many differ by < 1 % from all cells'."""


def slabs(grid: FeatureGrid, *, halo: int = 0) -> Iterator[tuple[int, int, Floats]]:
    """The grid along Z as (low, high, block); the blocks cover every slice once.

    block: (C, z, Y, X) float32 of slices low - halo to high + halo, as far as there are any. What is not a finite
    number counts as 0. A block may be a view of the grid's own array: do not write to it.
    """
    step = slab_height(grid)
    n = grid.shape[0]
    for low in range(0, n, step):
        high = min(low + step, n)
        yield low, high, finite(grid.data[:, max(0, low - halo) : min(n, high + halo)])


def slab_height(grid: FeatureGrid) -> int:
    """Slices per slab; whole chunks of an array on disk, so that no chunk is read twice."""
    _, y, x = grid.shape
    height = max(1, SLAB_BYTES // (4 * grid.channels * y * x))
    chunks = getattr(grid.data, "chunks", None)
    chunk = int(chunks[1]) if chunks else 1
    return max(chunk, height // chunk * chunk)


def finite(values: Any) -> Floats:
    """The values as float32, 0 where they are no finite number; the same array when nothing has to change."""
    block = np.asarray(values, np.float32)
    # The sum of finite numbers is finite, short of an overflow, and quicker than a look at each.
    with np.errstate(over="ignore", invalid="ignore"):
        good = bool(np.isfinite(block.sum()))
    return block if good else np.nan_to_num(block, nan=0.0, posinf=0.0, neginf=0.0)


def chosen_cells(grid: FeatureGrid, mask: Mask | None = None, *, count: int = SAMPLE, seed: int = 0) -> Cells:
    """(N,) flat indices, rising, of at most `count` cells inside the mask: all of them, or a random choice.

    Raises GeometryError for a mask of another shape or without a cell.
    """
    inside = np.ones(grid.shape, bool) if mask is None else checked_mask(grid, mask)
    cells = np.flatnonzero(inside)
    if len(cells) > count:
        cells = np.sort(np.random.default_rng(seed).choice(cells, count, replace=False))
    return cells.astype(np.int64)


def checked_mask(grid: FeatureGrid, mask: npt.ArrayLike) -> Mask:
    """The mask as bool, or GeometryError when it does not lie on the grid or is empty."""
    found = np.asarray(mask, bool)
    if found.shape != grid.shape:
        raise GeometryError(f"a mask of shape {found.shape} does not fit a grid of {grid.shape} cells")
    if not found.any():
        raise GeometryError("the mask holds no cell of the grid; draw inside the scan, or leave the mask out")
    return found


def vectors_of(grid: FeatureGrid, cells: Cells) -> Floats:
    """(N, C) vectors of cells given by flat index in any order; reads the slabs that hold one."""
    cells = np.asarray(cells, np.int64)
    plane = grid.shape[1] * grid.shape[2]
    found = np.empty((len(cells), grid.channels), np.float32)
    step = slab_height(grid)
    slab = cells // plane // step
    for number in np.unique(slab):
        here = slab == number
        low = int(number) * step
        block = finite(grid.data[:, low : low + step]).reshape(grid.channels, -1)
        found[here] = block[:, cells[here] - low * plane].T
    return found


def centres_of(grid: FeatureGrid, cells: Cells) -> npt.NDArray[np.float64]:
    """(N, 3) RAS mm of the centres of cells given by flat index."""
    index = np.stack(np.unravel_index(cells, grid.shape), 1)
    return np.asarray(index @ grid.affine[:3, :3].T + grid.affine[:3, 3])


def space_of(grid: FeatureGrid) -> str:
    """The grid's space as text: the same before and after a file, and comparable by ==."""
    name, weights, stages, channels = grid.space
    return json.dumps([name, weights, list(stages), channels])


def check_space(grid: FeatureGrid, space: str, what: str) -> None:
    """Raise GeometryError unless the grid's vectors mean the same as those that `what` was made from."""
    if space_of(grid) != space:
        raise GeometryError(
            f"{what} made from {_told(space)}; this grid is made from {_told(space_of(grid))}. Their vectors cannot be "
            "compared: extract both scans with the same weights and stages"
        )


def _told(space: str) -> str:
    name, weights, stages, channels = json.loads(space)
    known = f" (weights {str(weights)[:8]})" if weights else ""
    which = f" of stages {', '.join(map(str, stages))}" if stages else ""
    return f"{channels} channels{which} of {name or 'an unnamed encoder'}{known}"
