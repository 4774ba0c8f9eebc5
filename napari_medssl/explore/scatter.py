"""The cells of a region as points of a plot, and back: a lassoed part of the plot as a mask."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_medssl.dense.grid import FeatureGrid
from napari_medssl.errors import SettingsError
from napari_medssl.explore.cells import Cells, Floats, Mask, check_space, chosen_cells, vectors_of
from napari_medssl.explore.colours import FeatureColours
from napari_medssl.explore.onto import onto_volume
from napari_medssl.progress import Progress, Steps, finish
from napari_medssl.volume import Volume

SHOWN = 5000
"""Points drawn at most: more cannot be told apart in a dock, and slow it down. A lasso still takes all cells."""


@dataclass(frozen=True, eq=False)
class Scatter:
    """Cells of a grid as points in the plane of two components.

    points: (N, 2) float32 of all cells of the region. cells: (N,) their flat indices in the grid. shown: (M,) which of
    the N to draw. colours: (N, 3) float32 in [0, 1], those of the overlay. shape: (Z, Y, X) of the grid.
    """

    points: Floats
    cells: Cells
    shown: npt.NDArray[np.int64]
    colours: Floats
    shape: tuple[int, int, int]

    def inside(self, polygon: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """(N,) bool: points within a closed polygon of (K, 2) corners, by the even-odd rule; K under 3 holds none.

        Raises SettingsError when the corners are not pairs of numbers.
        """
        corners = np.asarray(polygon, np.float64)
        if corners.size == 0:
            return np.zeros(len(self.points), bool)
        if corners.ndim != 2 or corners.shape[1] != 2 or not np.isfinite(corners).all():
            raise SettingsError(f"a lasso needs (K, 2) corners that are numbers; got an array of shape {corners.shape}")
        return _even_odd(self.points.astype(np.float64), corners)

    def mask(self, polygon: npt.ArrayLike) -> Mask:
        """(Z, Y, X) bool: the cells whose points lie within the polygon, drawn or not."""
        found = np.zeros(int(np.prod(self.shape)), bool)
        found[self.cells[self.inside(polygon)]] = True
        return found.reshape(self.shape)

    def point_of(self, cell: tuple[int, int, int]) -> Floats | None:
        """(2,) the point of a cell (z, y, x), for a cursor in the plot; None when the cell is not in the region."""
        if not all(0 <= i < n for i, n in zip(cell, self.shape, strict=True)):
            return None
        flat = int(np.ravel_multi_index(cell, self.shape))
        at = int(np.searchsorted(self.cells, flat))
        return self.points[at] if at < len(self.cells) and self.cells[at] == flat else None


def scatter(
    grid: FeatureGrid,
    colours: FeatureColours,
    mask: Mask | None = None,
    *,
    components: tuple[int, int] = (0, 1),
    shown: int = SHOWN,
    seed: int = 0,
) -> Scatter:
    """Two components of the cells of a region.

    mask: (Z, Y, X) bool cells (`cells_in` makes it of a drawn region). components: which two, from 0. shown: how many
    to draw at most, chosen by the seed.

    Raises GeometryError for a mask that does not fit or a grid of another space, SettingsError for a component that is
    not there.
    """
    return finish(scatter_steps(grid, colours, mask, components=components, shown=shown, seed=seed))


def scatter_steps(
    grid: FeatureGrid,
    colours: FeatureColours,
    mask: Mask | None = None,
    *,
    components: tuple[int, int] = (0, 1),
    shown: int = SHOWN,
    seed: int = 0,
) -> Steps[Scatter]:
    """`scatter`, reporting what it does."""
    check_space(grid, colours.space, "these colours are")
    if not all(0 <= c < colours.count for c in components):
        raise SettingsError(f"components {components} of {colours.count}; they count from 0, fit more to see more")
    yield Progress(0, 1, "reading the region")
    cells = chosen_cells(grid, mask, count=int(np.prod(grid.shape)))
    found = colours.project(vectors_of(grid, cells))
    drawn = np.arange(len(cells))
    if len(drawn) > shown:
        drawn = np.sort(np.random.default_rng(seed).choice(len(cells), shown, replace=False))
    points = np.ascontiguousarray(found[:, list(components)])
    return Scatter(points, cells, drawn, colours.painted(found), grid.shape)


def lasso_mask(chosen: Scatter, polygon: npt.ArrayLike, grid: FeatureGrid, volume: Volume) -> Mask:
    """(Z, Y, X) bool on a scan's voxels: what lies in cells whose points are within the polygon."""
    return np.asarray(onto_volume(chosen.mask(polygon), grid, volume, order=0), bool)


def _even_odd(points: npt.NDArray[np.float64], corners: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """From inside, a ray to the right crosses the outline an odd number of times; a corner is of its upper edge."""
    x, y = points.T
    inside = np.zeros(len(points), bool)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, 0), strict=True):
        spans = (y0 > y) != (y1 > y)
        if spans.any():
            inside ^= spans & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0 if y1 != y0 else 1.0))
    return inside
