"""What looks like this? The cosine between a clicked vector and every cell of a grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from napari_medssl.dense.grid import FeatureGrid
from napari_medssl.errors import GeometryError, SettingsError
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
from napari_medssl.explore.standard import Standard, fit_standard
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

    grid: where they come from. standard: the scale channels were put on before lengths were made 1; None for vectors as
    they are. units: (C, cells) float32, channels first as in the grid; None for a grid too large to keep twice.
    lengths: (cells,) of the vectors before; 0 marks a cell that has no direction, alike to nothing.
    """

    grid: FeatureGrid
    standard: Standard | None
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
        """(N, C) raw vectors of this space, on this grid's scale, at length 1 (or 0 when nothing is left)."""
        scaled = finite(vectors) if self.standard is None else self.standard.of(finite(vectors))
        length = np.linalg.norm(scaled, axis=1, keepdims=True)
        least = _least(self.standard)
        return np.asarray(np.where(length > least, scaled / np.where(length > least, length, 1.0), 0.0), np.float32)

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
        for low, high, block in slabs(self.grid):
            lengths = self.lengths[low * plane : high * plane]
            rest = units @ _scaled(block, self.standard)
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
        if not len(units) or units.shape[1] != self.grid.channels:
            got, needed = units.shape, self.grid.channels
            raise SettingsError(f"{got[0]} vectors of {got[-1]} channels; at least one of {needed} is needed")
        if combine == "mean" and len(units) > 1:
            mean = units.mean(0, keepdims=True)
            units = mean / max(float(np.linalg.norm(mean)), 1e-12)
        return np.asarray(self.cosines(units).max(0), np.float32)


def similarity_index(
    grid: FeatureGrid,
    mask: Mask | None = None,
    *,
    centring: bool = True,
    scaling: bool = True,
    kept_bytes: int = KEPT_BYTES,
) -> SimilarityIndex:
    """Prepare a grid for clicks; see `SimilarityIndex`.

    centring: take the mean vector off first. Features of convolutional networks share a large mean, beside which all
        cosines are near 1; without it, organs stand out. scaling: also divide each channel by its deviation, cut to its
        usual range first (see `standard`), so that few large channels do not decide alone. mask: (Z, Y, X) bool, the
        cells that mean and deviation are of; all is the best choice known. `docs/methods/exploring.md` has numbers.
    kept_bytes: above this size no second copy is kept, and a click reads the grid.

    Raises VolumeError when centring leaves nothing because all vectors are equal, GeometryError for a mask that
    does not fit.
    """
    return finish(similarity_index_steps(grid, mask, centring=centring, scaling=scaling, kept_bytes=kept_bytes))


def similarity_index_steps(
    grid: FeatureGrid,
    mask: Mask | None = None,
    *,
    centring: bool = True,
    scaling: bool = True,
    kept_bytes: int = KEPT_BYTES,
) -> Steps[SimilarityIndex]:
    """`similarity_index`, reporting after each slab."""
    yield Progress(0, grid.shape[0], "reading vectors")
    standard = _standard(grid, mask, scaling) if centring else None
    count = int(np.prod(grid.shape))
    units = np.empty((grid.channels, count), np.float32) if 4 * grid.channels * count <= kept_bytes else None
    lengths = np.empty(count, np.float32)
    plane = grid.shape[1] * grid.shape[2]
    for low, high, block in slabs(grid):
        rest = _scaled(block, standard)
        length = np.sqrt(np.einsum("cn,cn->n", rest, rest))
        length[length <= _least(standard)] = 0.0
        lengths[low * plane : high * plane] = length
        if units is not None:
            shares = np.where(length > 0, 1.0 / np.where(length > 0, length, 1.0), 0.0)
            np.multiply(rest, shares, out=units[:, low * plane : high * plane])
        yield Progress(high, grid.shape[0], "reading vectors")
    return SimilarityIndex(grid, standard, units, lengths)


def similarity(
    grid: FeatureGrid,
    vectors: npt.ArrayLike,
    *,
    negative: npt.ArrayLike | None = None,
    centring: bool = False,
    scaling: bool = False,
    mask: Mask | None = None,
    combine: Combine = "any",
) -> Floats:
    """(Z, Y, X) float32 in [-1, 1]: cosine of every cell with raw vectors, (C,) or (k, C), of this space.

    For one question; with several, make a `similarity_index` once. centring and scaling put both sides on
    the grid's scale. Raises like `SimilarityIndex.map` and `similarity_index`.
    """
    index = similarity_index(grid, mask, centring=centring, scaling=scaling, kept_bytes=0)
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


def _standard(grid: FeatureGrid, mask: Mask | None, scaling: bool) -> Standard:
    vectors = vectors_of(grid, chosen_cells(grid, mask))
    found = fit_standard(vectors)
    if scaling:
        return found
    wide, one = np.full(grid.channels, np.inf, np.float32), np.ones(grid.channels, np.float32)
    return Standard(-wide, wide, vectors.mean(0, dtype=np.float64).astype(np.float32), one)


def _scaled(block: Floats, standard: Standard | None) -> Floats:
    """(C, cells) of a slab on a scale; a view of the slab without one."""
    flat = block.reshape(len(block), -1)
    if standard is None:
        return flat
    found = np.clip(flat, standard.low[:, None], standard.high[:, None])
    found -= standard.mean[:, None]
    found *= standard.scale[:, None]
    return found


def _least(standard: Standard | None) -> float:
    """Lengths up to here are the rounding of equal vectors, not a direction."""
    return 1e-12 if standard is None else 1e-12 + 1e-6 * float(np.linalg.norm(standard.mean * standard.scale))


def _rows(vectors: npt.ArrayLike, grid: FeatureGrid) -> Floats:
    rows = np.atleast_2d(np.asarray(vectors, np.float32))
    if rows.ndim != 2 or rows.shape[1] != grid.channels:
        raise SettingsError(f"vectors of {rows.shape[-1]} channels; this grid has {grid.channels}")
    return rows
