"""Where features change: edges between organs, of no class in particular."""

from __future__ import annotations

import numpy as np

from napari_medssl.dense.grid import FeatureGrid
from napari_medssl.explore.cells import Floats, Mask, checked_mask, chosen_cells, slabs, vectors_of
from napari_medssl.explore.standard import Standard, fit_standard
from napari_medssl.progress import Progress, Steps, finish


def boundaries(grid: FeatureGrid, mask: Mask | None = None) -> Floats:
    """(Z, Y, X) float32, the length of the feature gradient in usual deviations per mm, root mean square of channels.

    mask: (Z, Y, X) bool, the cells whose spread is the unit of each channel (the body). Outside, the result is 0: in
    air, features change from one window of the extraction to the next and with nothing else.

    Central differences of neighbouring cells, one-sided at the border, turned into millimetres by the grid's affine,
    so that thick slices are not edges (sheared grids too). Along an axis of one cell nothing changes. A constant
    channel has no part. Raises VolumeError when all vectors are equal, GeometryError for a mask that does not fit.
    """
    return finish(boundaries_steps(grid, mask))


def boundaries_steps(grid: FeatureGrid, mask: Mask | None = None) -> Steps[Floats]:
    """`boundaries`, reporting after each slab."""
    yield Progress(0, grid.shape[0], "boundaries")
    inside = np.ones(grid.shape, bool) if mask is None else checked_mask(grid, mask)
    standard = fit_standard(vectors_of(grid, chosen_cells(grid, inside)))
    # |gradient in mm|^2 = g' (A'A)^-1 g for the gradient g per cell.
    metric = np.linalg.inv(grid.affine[:3, :3].T @ grid.affine[:3, :3]).astype(np.float32)
    found = np.empty(grid.shape, np.float32)
    used = max(1, int((standard.scale > 0).sum()))
    for low, high, block in slabs(grid, halo=1):
        first = low - max(0, low - 1)
        squares = sum(_squares(c, metric) for c in _scaled(block, standard))
        found[low:high] = np.sqrt(np.maximum(squares, 0.0) / used)[first : first + high - low]
        yield Progress(high, grid.shape[0], "boundaries")
    found[~inside] = 0.0
    return found


def _scaled(block: Floats, standard: Standard) -> list[Floats]:
    """The channels that vary, each (z, Y, X) in usual deviations."""
    low, high, mean, scale = standard.low, standard.high, standard.mean, standard.scale
    return [(np.clip(block[c], low[c], high[c]) - mean[c]) * scale[c] for c in np.flatnonzero(scale)]


def _squares(channel: Floats, metric: Floats) -> Floats:
    slopes = [np.gradient(channel, axis=a) if channel.shape[a] > 1 else np.zeros_like(channel) for a in range(3)]
    total = np.zeros_like(channel)
    for a in range(3):
        total += metric[a, a] * slopes[a] ** 2
        for b in range(a):
            if metric[a, b]:
                total += 2 * metric[a, b] * slopes[a] * slopes[b]
    return total
