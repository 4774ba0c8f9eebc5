"""Principal components of feature vectors as colours: what looks alike to the encoder gets one colour."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_medssl.dense.grid import FeatureGrid
from napari_medssl.errors import SettingsError
from napari_medssl.explore._npz import load_arrays, save_arrays
from napari_medssl.explore.cells import (
    SAMPLE,
    Floats,
    Mask,
    check_space,
    checked_mask,
    chosen_cells,
    slabs,
    space_of,
    vectors_of,
)
from napari_medssl.explore.standard import Standard, fit_standard
from napari_medssl.progress import Progress, Steps, finish

_KIND = "colour map of features"
_ARRAYS = ("axes", "shares", "low", "high", "cut_low", "cut_high", "mean", "scale")


@dataclass(frozen=True, eq=False)
class FeatureColours:
    """Directions of largest variance of the features of one scan, and the range of each that a colour spans.

    standard: the channels' scale. axes: (n, C) orthonormal rows, the entry of largest magnitude positive.
    shares: (n,) of the variance. low, high: (n,) the components that become 0 and 1. space: of the grid fitted on.
    """

    standard: Standard
    axes: Floats
    shares: Floats
    low: Floats
    high: Floats
    space: str

    @property
    def count(self) -> int:
        """n, the number of components."""
        return len(self.axes)

    def project(self, vectors: Floats) -> Floats:
        """(N, n) components of (N, C) vectors of this space."""
        return np.asarray(self.standard.of(vectors) @ self.axes.T, np.float32)

    def components(self, grid: FeatureGrid) -> Floats:
        """(Z, Y, X, n) float32 components of the cells; another grid's are in the same units.

        Raises GeometryError for a grid of another space.
        """
        return finish(self.components_steps(grid))

    def components_steps(self, grid: FeatureGrid) -> Steps[Floats]:
        """`components`, reporting after each slab."""
        check_space(grid, self.space, "these colours are")
        found = np.empty((*grid.shape, self.count), np.float32)
        for low, high, block in slabs(grid):
            vectors = block.reshape(grid.channels, -1).T
            found[low:high] = self.project(vectors).reshape(*block.shape[1:], self.count)
            yield Progress(high, grid.shape[0], "components")
        return found

    def rgb(self, grid: FeatureGrid, mask: Mask | None = None) -> Floats:
        """(Z, Y, X, 3) float32 in [0, 1]: the first three components as red, green and blue.

        mask: (Z, Y, X) bool; cells outside are black. A component that is not there, or does not vary, is 0.5.
        Raises GeometryError for a grid of another space or a mask that does not fit.
        """
        return finish(self.rgb_steps(grid, mask))

    def rgb_steps(self, grid: FeatureGrid, mask: Mask | None = None) -> Steps[Floats]:
        """`rgb`, reporting after each slab."""
        inside = None if mask is None else checked_mask(grid, mask)
        found = self.painted((yield from self.components_steps(grid)))
        if inside is not None:
            found[~inside] = 0.0
        return found

    def painted(self, components: Floats) -> Floats:
        """(..., 3) colours of (..., n) components."""
        rgb = np.full((*components.shape[:-1], 3), 0.5, np.float32)
        for channel, (low, high) in enumerate(zip(self.low[:3], self.high[:3], strict=True)):
            if high > low:
                rgb[..., channel] = np.clip((components[..., channel] - low) / (high - low), 0.0, 1.0)
        return rgb

    def save(self, path: Path) -> None:
        """Write a .npz without pickles. Raises FormatError when the disk refuses."""
        s = self.standard
        values = (self.axes, self.shares, self.low, self.high, s.low, s.high, s.mean, s.scale)
        save_arrays(path, _KIND, dict(zip(_ARRAYS, values, strict=True)), {"space": self.space})


def load_colours(path: Path) -> FeatureColours:
    """What `FeatureColours.save` wrote. Raises FormatError for another or damaged file."""
    arrays, card = load_arrays(path, _KIND, _ARRAYS)
    axes, shares, low, high, *standard = (np.asarray(arrays[n], np.float32) for n in _ARRAYS)
    return FeatureColours(Standard(*standard), axes, shares, low, high, str(card["space"]))


def fit_colours(
    grid: FeatureGrid,
    mask: Mask | None = None,
    *,
    components: int = 3,
    percentiles: tuple[float, float] = (2.0, 98.0),
    sample: int = SAMPLE,
    seed: int = 0,
) -> FeatureColours:
    """Fit colours on one grid; use the result on others so that a colour means the same everywhere.

    mask: (Z, Y, X) bool, the cells to fit on (the body: air takes up most of many scans). components: how many to
    keep. percentiles: of the components inside the mask that become 0 and 1. sample: cells to fit on at most, chosen by
    `seed`; a grid on disk is read twice, in slabs.

    Each channel is first cut to its usual range and scaled to unit variance (ours; plain PCA would show the few
    channels of largest numbers). Eigenvectors of the covariance have no sign: the entry of largest magnitude, the
    first of nearly equal ones, is made positive. Fewer components than asked when there are fewer channels that vary.

    Raises VolumeError when all vectors are equal, GeometryError for a mask that does not fit, SettingsError for
    components below 1 or percentiles out of order.
    """
    return finish(
        fit_colours_steps(grid, mask, components=components, percentiles=percentiles, sample=sample, seed=seed)
    )


def fit_colours_steps(
    grid: FeatureGrid,
    mask: Mask | None = None,
    *,
    components: int = 3,
    percentiles: tuple[float, float] = (2.0, 98.0),
    sample: int = SAMPLE,
    seed: int = 0,
) -> Steps[FeatureColours]:
    """`fit_colours`, reporting what it does."""
    if components < 1 or not 0 <= percentiles[0] < percentiles[1] <= 100:
        raise SettingsError(
            f"{components} components and percentiles {percentiles}; at least 1, and two rising numbers in 0..100"
        )
    yield Progress(0, 2, "reading vectors")
    vectors = vectors_of(grid, chosen_cells(grid, mask, count=sample, seed=seed))
    standard = fit_standard(vectors)
    yield Progress(1, 2, "finding components")
    scaled = standard.of(vectors)
    axes, shares = _principal(scaled, components)
    low, high = np.percentile(scaled @ axes.T, percentiles, axis=0).astype(np.float32)
    return FeatureColours(standard, axes, shares, low, high, space_of(grid))


def _principal(scaled: Floats, count: int) -> tuple[Floats, Floats]:
    """(n, C) axes and their (n,) shares of the variance, from vectors with mean 0."""
    covariance = (scaled.T @ scaled).astype(np.float64) / len(scaled)
    values, columns = np.linalg.eigh(covariance)
    order = np.argsort(values)[::-1]
    values, axes = values[order], columns[:, order].T
    kept = min(count, max(1, int((values > 1e-9 * values[0]).sum())))
    magnitude = np.abs(axes)
    # Magnitudes equal but for rounding are a tie: the first decides, on every machine the same.
    first = (magnitude >= magnitude.max(1, keepdims=True) * (1 - 1e-4)).argmax(1)
    signs = np.where(axes[np.arange(len(axes)), first] < 0, -1.0, 1.0)
    axes = axes * signs[:, None]
    return axes[:kept].astype(np.float32), (values[:kept] / values.clip(0).sum()).astype(np.float32)
