"""What looks like this? The cosine between a clicked vector and every cell of a grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from napari_medssl.dense.grid import FeatureGrid
from napari_medssl.errors import GeometryError, SettingsError, VolumeError
from napari_medssl.explore.cells import (
    Cells,
    Floats,
    Mask,
    chosen_cells,
    finite,
    slabs,
    space_of,
    vectors_of,
)
from napari_medssl.explore.coverage import coverage
from napari_medssl.progress import Progress, Steps, finish
from napari_medssl.volume import Volume

Combine = Literal["any", "mean"]

KEPT_BYTES = 1 << 30
"""Unit vectors are kept in memory up to this size; a larger grid is read again for every click."""

# How sharply a negative click takes its part: a cell that is this much nearer to it than to the positive ones keeps
# 27 % of its likeness. Ours: 0.05 parts the two organs no better and the clicked one from the rest worse; 0.2 parts the
# two worse.
_SHARPNESS = 0.1


@dataclass(frozen=True, eq=False)
class SimilarityIndex:
    """The unit vectors of a grid, laid out so that a click is one pass over contiguous memory.

    grid: where they come from. centre: (C,) what was taken off each vector before its length was made 1 (zeros without
    centring). units: (C, cells) float32, channels first as in the grid; None for a grid too large to keep twice.
    lengths: (cells,) of the vectors without the centre; 0 marks a cell that has no direction, alike to nothing.
    """

    grid: FeatureGrid
    centre: Floats
    units: Floats | None
    lengths: Floats

    @property
    def space(self) -> str:
        """The space of the grid; unit vectors may pass between indexes that share it."""
        return space_of(self.grid)

    def at(self, points_mm: npt.ArrayLike) -> Floats:
        """(N, C) unit vectors at (N, 3) RAS points.

        Raises GeometryError for a point beyond the grid.
        """
        points = np.atleast_2d(np.asarray(points_mm, np.float64))
        return self.unit(vector_at(self.grid, points))

    def of_region(self, region: Volume, value: int | None = None) -> Floats:
        """(1, C) unit vector of the mean of a drawn region. Raises GeometryError when it lies beyond the grid."""
        return self.unit(mean_vector(self.grid, region, value)[None])

    def unit(self, vectors: Floats) -> Floats:
        """(N, C) raw vectors of this space, less the centre, at length 1 (or 0 when nothing is left)."""
        rest = finite(vectors) - self.centre
        length = np.linalg.norm(rest, axis=1, keepdims=True)
        safe = np.where(length > _least(self.centre), length, 1.0)
        return np.asarray(np.where(length > _least(self.centre), rest / safe, 0.0), np.float32)

    def of_cells(self, cells: Cells) -> Floats:
        """(N, C) unit vectors of cells given by flat index."""
        if self.units is not None:
            return np.ascontiguousarray(self.units[:, cells].T)
        return self.unit(vectors_of(self.grid, cells))

    def cosines(self, units: Floats) -> Floats:
        """(k, cells) float32 cosines of (k, C) unit vectors with all cells."""
        if self.units is not None:
            return units @ self.units
        found = np.empty((len(units), len(self.lengths)), np.float32)
        plane = self.grid.shape[1] * self.grid.shape[2]
        shift = (units @ self.centre)[:, None]
        for low, high, block in slabs(self.grid):
            lengths = self.lengths[low * plane : high * plane]
            rest = units @ block.reshape(len(self.centre), -1) - shift
            found[:, low * plane : high * plane] = np.where(
                lengths > 0, rest / np.where(lengths > 0, lengths, 1.0), 0.0
            )
        return found

    def map(self, positive: Floats, negative: Floats | None = None, *, combine: Combine = "any") -> Floats:
        """(Z, Y, X) float32 in [-1, 1]: likeness to unit vectors from this index or another of the same space.

        positive: (k, C), at least one. combine: "any" takes the nearest of several clicks, "mean" their mean direction.
        negative: (m, C) what it shall not look like: the likeness p becomes p / (1 + exp((n - p) / 0.1)) with n, that
        to the nearest negative one (ours). So cells far from it keep theirs, and those nearer to it than to the
        positive ones lose most of it.

        Raises SettingsError without a positive vector or for another number of channels.
        """
        score = self._likeness(positive, combine)
        if negative is not None and len(negative):
            against = self._likeness(negative, "any")
            score = score / (1 + np.exp(np.clip((against - score) / _SHARPNESS, -50, 50)))
        return np.clip(score, -1.0, 1.0).reshape(self.grid.shape)

    def click(
        self, points_mm: npt.ArrayLike, negative_mm: npt.ArrayLike | None = None, *, combine: Combine = "any"
    ) -> Floats:
        """`map` of clicked RAS points. Raises GeometryError for a point beyond the grid."""
        negative = None if negative_mm is None or np.size(negative_mm) == 0 else self.at(negative_mm)
        return self.map(self.at(points_mm), negative, combine=combine)

    def _likeness(self, units: Floats, combine: Combine) -> Floats:
        units = np.atleast_2d(np.asarray(units, np.float32))
        if not len(units) or units.shape[1] != len(self.centre):
            raise SettingsError(
                f"{units.shape[0]} vectors of {units.shape[-1]} channels; at least one of {len(self.centre)} is needed"
            )
        if combine == "mean" and len(units) > 1:
            mean = units.mean(0, keepdims=True)
            units = mean / max(float(np.linalg.norm(mean)), 1e-12)
        return np.asarray(self.cosines(units).max(0), np.float32)


def similarity_index(
    grid: FeatureGrid, mask: Mask | None = None, *, centring: bool = True, kept_bytes: int = KEPT_BYTES
) -> SimilarityIndex:
    """Prepare a grid for clicks; see `SimilarityIndex`.

    centring: take the mean vector off first. Features of convolutional networks share a large mean, beside which all
        cosines are near 1; without it, organs stand out. mask: (Z, Y, X) bool, the cells whose mean it is; all is the
        best choice known (measured in `docs/methods/exploring.md`: better than the body, or no centring).
    kept_bytes: above this size no second copy is kept, and a click reads the grid.

    Raises VolumeError when centring leaves nothing because all vectors are equal, GeometryError for a mask that
    does not fit.
    """
    return finish(similarity_index_steps(grid, mask, centring=centring, kept_bytes=kept_bytes))


def similarity_index_steps(
    grid: FeatureGrid, mask: Mask | None = None, *, centring: bool = True, kept_bytes: int = KEPT_BYTES
) -> Steps[SimilarityIndex]:
    """`similarity_index`, reporting after each slab."""
    yield Progress(0, grid.shape[0], "reading vectors")
    centre = _centre(grid, mask) if centring else np.zeros(grid.channels, np.float32)
    count = int(np.prod(grid.shape))
    units = np.empty((grid.channels, count), np.float32) if 4 * grid.channels * count <= kept_bytes else None
    lengths = np.empty(count, np.float32)
    plane = grid.shape[1] * grid.shape[2]
    for low, high, block in slabs(grid):
        rest = block.reshape(grid.channels, -1) - centre[:, None]
        length = np.sqrt(np.einsum("cn,cn->n", rest, rest))
        length[length <= _least(centre)] = 0.0
        lengths[low * plane : high * plane] = length
        if units is not None:
            rest *= np.where(length > 0, 1.0 / np.where(length > 0, length, 1.0), 0.0)
            units[:, low * plane : high * plane] = rest
        yield Progress(high, grid.shape[0], "reading vectors")
    if centring and not lengths.any():
        raise VolumeError(
            "all feature vectors are equal: everything is alike. Is the scan empty, or cropped to one cell?"
        )
    return SimilarityIndex(grid, centre, units, lengths)


def similarity(
    grid: FeatureGrid,
    vectors: npt.ArrayLike,
    *,
    negative: npt.ArrayLike | None = None,
    centring: bool = False,
    mask: Mask | None = None,
    combine: Combine = "any",
) -> Floats:
    """(Z, Y, X) float32 in [-1, 1]: cosine of every cell with raw vectors, (C,) or (k, C), of this space.

    For one question; with several, make a `similarity_index` once. centring takes the grid's mean off both sides.
    Raises like `SimilarityIndex.map` and `similarity_index`.
    """
    index = similarity_index(grid, mask, centring=centring, kept_bytes=0)
    against = None if negative is None else index.unit(_rows(negative, grid))
    return index.map(index.unit(_rows(vectors, grid)), against, combine=combine)


def vector_at(grid: FeatureGrid, points_mm: npt.ArrayLike) -> Floats:
    """(C,) raw vector at one (3,) RAS point in mm, trilinear; (N, C) at (N, 3) points.

    Raises GeometryError for a point more than half a cell beyond the outermost centres, or that is no number,
    SettingsError for other than three coordinates.
    """
    points = np.asarray(points_mm, np.float64)
    rows = np.atleast_2d(points)
    if rows.ndim != 2 or rows.shape[1] != 3:
        raise SettingsError(f"points of shape {points.shape}; each needs three numbers, R, A, S in mm")
    index = grid.index_of(rows)
    inside = ((index >= -0.5 - 1e-6) & (index <= np.array(grid.shape) - 0.5 + 1e-6)).all(1)
    if not inside.all():
        place = ", ".join(f"{v:.1f}" for v in rows[~inside][0])
        raise GeometryError(
            f"the point at R, A, S = {place} mm lies outside the features' field; click inside the scan"
        )
    if not len(rows):
        return np.zeros((0, grid.channels), np.float32)
    # One by one: the box around points far apart can be the whole grid.
    found = finite(np.concatenate([grid.at(row) for row in rows]))
    return found[0] if points.ndim == 1 else found


def mean_vector(grid: FeatureGrid, region: Volume, value: int | None = None) -> Floats:
    """(C,) float32 mean over a drawn region, each cell weighted by the share of it that the region fills.

    value: the label to take; None for all that is not 0. Raises GeometryError when nothing of it lies in the grid.
    """
    weights = coverage(grid, region, value).ravel()
    cells = np.flatnonzero(weights)
    if not len(cells):
        raise GeometryError("the region is empty or lies outside the field of the features; draw inside the scan")
    vectors = vectors_of(grid, cells).astype(np.float64)
    return np.asarray(np.average(vectors, axis=0, weights=weights[cells]), np.float32)


def _centre(grid: FeatureGrid, mask: Mask | None) -> Floats:
    return np.asarray(vectors_of(grid, chosen_cells(grid, mask)).mean(0, dtype=np.float64), np.float32)


def _least(centre: Floats) -> float:
    """Lengths up to here are rounding of equal vectors, not a direction (half precision keeps about 1e-3)."""
    return 1e-12 + 1e-6 * float(np.linalg.norm(centre))


def _rows(vectors: npt.ArrayLike, grid: FeatureGrid) -> Floats:
    rows = np.atleast_2d(np.asarray(vectors, np.float32))
    if rows.ndim != 2 or rows.shape[1] != grid.channels:
        raise SettingsError(f"vectors of {rows.shape[-1]} channels; this grid has {grid.channels}")
    return rows
