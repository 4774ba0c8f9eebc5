"""Regions without labels: cells grouped by what they look like."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from napari_medssl.dense.grid import FeatureGrid
from napari_medssl.explore._npz import load_arrays, save_arrays
from napari_medssl.explore.cells import (
    Floats,
    Mask,
    check_space,
    checked_mask,
    chosen_cells,
    slabs,
    space_of,
    vectors_of,
)
from napari_medssl.explore.merging import merge_steps
from napari_medssl.explore.small_pieces import join_small
from napari_medssl.explore.standard import Standard, fit_standard
from napari_medssl.progress import Progress, Steps, finish
from napari_medssl.settings import check, setting

Labels = npt.NDArray[np.int32]

_KIND = "set of regions"
_ARRAYS = ("labels", "centres", "cut_low", "cut_high", "mean", "scale")
_FIT_CELLS = 20_000  # centres from so many cells differ little from those of all; ours, for seconds instead of minutes
_STARTS = 3
_ROUNDS = 50  # of Lloyd; centres move little afterwards, and where there are no clusters they move for hundreds


@dataclass(frozen=True)
class RegionSettings:
    """How cells are grouped.

    The two methods differ in what a region is: of "kmeans" a look, wherever it occurs (both kidneys are one region);
    of "agglomerative" a connected place of one look.
    """

    method: Literal["kmeans", "agglomerative"] = setting(
        "kmeans", "Group by look alone ('kmeans'), or into connected pieces ('agglomerative')."
    )
    count: int = setting(12, "Number of regions.", ge=2, le=200)
    min_mm3: float = setting(1000.0, "Smaller connected pieces join the region around them, in mm³.", ge=0, le=1e7)
    supervoxels: int = setting(1500, "Pieces that 'agglomerative' starts from.", ge=50, le=10000, advanced=True)
    compactness: float = setting(
        0.1, "How round these pieces are: 0.01 follows the features, 10 gives blocks.", ge=0.001, le=100, advanced=True
    )
    seed: int = setting(0, "Start of the random numbers.", ge=0, le=2**31 - 1, advanced=True)


@dataclass(frozen=True, eq=False)
class Regions:
    """Regions of one grid, and what is needed to find the same ones in another.

    labels: (Z, Y, X) int32, 0 outside the mask, then 1 (the largest) to K. centres: (K, C) float32, the mean features
    of each, in the units of the grid. standard: the scale in which distances were taken. space: of the grid.
    """

    labels: Labels
    centres: Floats
    standard: Standard
    space: str

    @property
    def count(self) -> int:
        """K, the number of regions."""
        return len(self.centres)

    def volumes_mm3(self, grid: FeatureGrid) -> npt.NDArray[np.float64]:
        """(K,) volume of each region in mm³, `grid` being the one the labels lie on."""
        cells = np.bincount(self.labels.ravel(), minlength=self.count + 1)[1:]
        return np.asarray(cells * abs(np.linalg.det(grid.affine[:3, :3])))

    def save(self, path: Path) -> None:
        """Write a .npz without pickles. Raises FormatError when the disk refuses."""
        s = self.standard
        values = (self.labels, self.centres, s.low, s.high, s.mean, s.scale)
        save_arrays(path, _KIND, dict(zip(_ARRAYS, values, strict=True)), {"space": self.space})


def load_regions(path: Path) -> Regions:
    """What `Regions.save` wrote. Raises FormatError for another or damaged file."""
    arrays, card = load_arrays(path, _KIND, _ARRAYS)
    low, high, mean, scale = (np.asarray(arrays[n], np.float32) for n in _ARRAYS[2:])
    standard = Standard(low, high, mean, scale)
    return Regions(
        arrays["labels"].astype(np.int32), arrays["centres"].astype(np.float32), standard, str(card["space"])
    )


def find_regions(grid: FeatureGrid, settings: RegionSettings | None = None, *, mask: Mask | None = None) -> Regions:
    """Group the cells of a grid; the same grid, mask and settings give the same regions.

    mask: (Z, Y, X) bool, the cells to group (the body); the others get 0.

    "kmeans" (Lloyd 1982, started as by Arthur and Vassilvitskii 2007, the best of 3 starts) is fitted on at most 20,000
    cells drawn with the seed. "agglomerative" cuts the cells into supervoxels that are compact in space and features
    (SLIC, Achanta et al. 2012) and merges neighbours, each time the two whose union adds least variance (Ward 1963), so
    that regions are connected. Distances are between standardised channels. Pieces under `min_mm3` then join what
    surrounds them. Fewer regions than asked when fewer vectors differ, or pieces were joined.

    Raises VolumeError when all vectors are equal, GeometryError for a mask that does not fit, SettingsError.
    """
    return finish(find_regions_steps(grid, settings, mask=mask))


def find_regions_steps(
    grid: FeatureGrid, settings: RegionSettings | None = None, *, mask: Mask | None = None
) -> Steps[Regions]:
    """`find_regions`, reporting after each stage, slab and merge."""
    settings = settings or RegionSettings()
    check(settings)
    inside = np.ones(grid.shape, bool) if mask is None else checked_mask(grid, mask)
    yield Progress(0, _STARTS + 1, "reading vectors")
    standard = fit_standard(vectors_of(grid, chosen_cells(grid, inside)))
    if settings.method == "kmeans":
        centres = yield from _kmeans_steps(grid, inside, standard, settings)
        labels = yield from _nearest_steps(grid, inside, standard, centres)
    else:
        labels = yield from merge_steps(
            grid,
            inside,
            standard,
            count=settings.count,
            pieces=settings.supervoxels,
            compactness=settings.compactness,
        )
    labels = join_small(labels, grid, settings.min_mm3)
    return (yield from _numbered_steps(grid, labels, standard))


def same_regions(regions: Regions, grid: FeatureGrid, *, mask: Mask | None = None, min_mm3: float = 0.0) -> Labels:
    """(Z, Y, X) int32 for another grid: the region whose centre is nearest, under the same number; 0 outside the mask.

    By look alone, for "agglomerative" regions too, which may then be in several pieces. Raises GeometryError for a grid
    of another space or a mask that does not fit.
    """
    return finish(same_regions_steps(regions, grid, mask=mask, min_mm3=min_mm3))


def same_regions_steps(
    regions: Regions, grid: FeatureGrid, *, mask: Mask | None = None, min_mm3: float = 0.0
) -> Steps[Labels]:
    """`same_regions`, reporting after each slab."""
    check_space(grid, regions.space, "these regions are")
    inside = np.ones(grid.shape, bool) if mask is None else checked_mask(grid, mask)
    scaled = regions.standard.of(regions.centres)
    labels = yield from _nearest_steps(grid, inside, regions.standard, scaled)
    return join_small(labels, grid, min_mm3)


def _kmeans_steps(grid: FeatureGrid, inside: Mask, standard: Standard, settings: RegionSettings) -> Steps[Floats]:
    """(K, C) standardised centres."""
    from sklearn.cluster import KMeans  # seconds to import, not needed for the settings

    cells = chosen_cells(grid, inside, count=_FIT_CELLS, seed=settings.seed)
    scaled = standard.of(vectors_of(grid, cells))
    count = min(settings.count, len(np.unique(scaled, axis=0)))
    tries = []
    for start in range(_STARTS):
        yield Progress(start, _STARTS, "k-means")
        tries.append(KMeans(count, n_init=1, max_iter=_ROUNDS, random_state=settings.seed + start).fit(scaled))
    best = min(tries, key=lambda made: made.inertia_)
    return np.asarray(best.cluster_centers_, np.float32)


def _nearest_steps(grid: FeatureGrid, inside: Mask, standard: Standard, centres: Floats) -> Steps[Labels]:
    labels = np.zeros(grid.shape, np.int32)
    half = 0.5 * (centres**2).sum(1)
    for low, high, block in slabs(grid):
        scaled = standard.of(block.reshape(grid.channels, -1).T)
        nearest = (scaled @ centres.T - half).argmax(1) + 1
        labels[low:high] = nearest.reshape(block.shape[1:]) * inside[low:high]
        yield Progress(high, grid.shape[0], "assigning cells")
    return labels


def _numbered_steps(grid: FeatureGrid, labels: Labels, standard: Standard) -> Steps[Regions]:
    """Regions renumbered by size, with their mean features (cut to the usual range, as distances see them)."""
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    order = [n for n in np.argsort(-sizes, kind="stable") if sizes[n]]
    table = np.zeros(len(sizes), np.int32)
    table[order] = np.arange(1, len(order) + 1)
    labels = table[labels]
    sums = np.zeros((len(order) + 1, grid.channels))
    for low, high, block in slabs(grid):
        flat, cut = labels[low:high].ravel(), block.reshape(grid.channels, -1)
        for c in range(grid.channels):
            values = np.clip(cut[c], standard.low[c], standard.high[c])
            sums[:, c] += np.bincount(flat, weights=values, minlength=len(sums))
        yield Progress(high, grid.shape[0], "measuring regions")
    centres = (sums[1:] / sizes[order][:, None]).astype(np.float32)
    return Regions(labels, centres, standard, space_of(grid))
