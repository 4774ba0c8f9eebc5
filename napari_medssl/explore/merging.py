"""Connected regions: supervoxels of a grid, merged with their neighbours."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from napari_medssl.dense.grid import FeatureGrid
from napari_medssl.explore.cells import Floats, Mask, slabs
from napari_medssl.explore.standard import Standard
from napari_medssl.progress import Progress, Steps

Labels = npt.NDArray[np.int32]

_COMPONENTS = 8  # of the features that supervoxels follow; ours: the rest costs time and moves few borders


def merge_steps(
    grid: FeatureGrid, inside: Mask, standard: Standard, *, count: int, pieces: int, compactness: float
) -> Steps[Labels]:
    """(Z, Y, X) int32, 0 outside `inside`, then `count` connected regions (or as many as there are supervoxels).

    Where the mask itself is in several parts, nearest supervoxels count as neighbours, so that `count` can be reached.
    """
    yield Progress(0, 4, "supervoxels")
    picture = yield from _picture_steps(grid, standard, inside)
    yield Progress(1, 4, "supervoxels")
    small = _supervoxels(picture, grid, inside, pieces, compactness)
    yield Progress(2, 4, "merging")
    means, places = yield from _measured_steps(grid, small, standard)
    groups = _grouped(means, _neighbours(small, len(means), places), min(count, len(means)))
    return np.asarray(np.where(small > 0, groups[small - 1] + 1, 0), np.int32)


def _picture_steps(grid: FeatureGrid, standard: Standard, inside: Mask) -> Steps[Floats]:
    """(Z, Y, X, n) first components of the standardised features, scaled to unit variance over all of them."""
    from napari_medssl.explore.colours import fit_colours

    colours = fit_colours(grid, inside, components=_COMPONENTS)
    found = yield from colours.components_steps(grid)
    deviation = float(np.sqrt(found[inside].var(0).sum()))
    return np.asarray(found / max(deviation, 1e-12), np.float32)


def _supervoxels(picture: Floats, grid: FeatureGrid, inside: Mask, pieces: int, compactness: float) -> Labels:
    """(Z, Y, X) int32 from 1 without gaps, each number one connected piece; 0 outside."""
    from skimage.segmentation import slic

    cells = int(inside.sum())
    if cells <= pieces:
        numbers = np.zeros(grid.shape, np.int32)
        numbers[inside] = np.arange(1, cells + 1)
        return numbers
    found = slic(
        picture,
        pieces,
        compactness=compactness,
        spacing=grid.spacing_mm,
        mask=None if inside.all() else inside,
        channel_axis=-1,
        convert2lab=False,
        enforce_connectivity=True,
        start_label=1,
    )
    found = np.where(inside, found, 0)
    return _connected(found.astype(np.int32), inside)


def _connected(found: Labels, inside: Mask) -> Labels:
    """Every connected piece under its own number; cells that SLIC left out are pieces too."""
    from skimage.measure import label

    shifted = np.where(inside, found + 1, 0)
    return np.asarray(label(shifted, background=0, connectivity=1), np.int32)  # type: ignore[no-untyped-call]


def _measured_steps(
    grid: FeatureGrid, small: Labels, standard: Standard
) -> Steps[tuple[Floats, npt.NDArray[np.float64]]]:
    """(n, C) mean standardised features and (n, 3) mean RAS mm of each supervoxel."""
    count = int(small.max())
    sizes = np.bincount(small.ravel(), minlength=count + 1)[1:]
    sums = np.zeros((count, grid.channels))
    for low, high, block in slabs(grid):
        scaled = standard.of(block.reshape(grid.channels, -1).T)
        flat = small[low:high].ravel()
        for c in range(grid.channels):
            sums[:, c] += np.bincount(flat, weights=scaled[:, c], minlength=count + 1)[1:]
        yield Progress(2, 4, "merging")
    index = np.indices(grid.shape).reshape(3, -1)
    centre = np.stack([np.bincount(small.ravel(), weights=i, minlength=count + 1)[1:] for i in index], 1)
    places = (centre / sizes[:, None]) @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    return (sums / sizes[:, None]).astype(np.float32), places


def _neighbours(small: Labels, count: int, places: npt.NDArray[np.float64]) -> sparse.csr_matrix:
    """(n, n) symmetric: supervoxels that share a face; parts that do not touch are joined at their nearest two."""
    pairs = []
    for axis in range(3):
        a = np.moveaxis(small, axis, 0)
        here, there = a[:-1].ravel(), a[1:].ravel()
        touch = (here != there) & (here > 0) & (there > 0)
        pairs.append(np.stack([here[touch], there[touch]], 1) - 1)
    edges = np.unique(np.concatenate(pairs), axis=0)
    while True:
        ones = np.ones(len(edges))
        graph = sparse.coo_matrix((ones, (edges[:, 0], edges[:, 1])), (count, count))
        parts, part = connected_components(graph, directed=False)
        if parts == 1:
            return (graph + graph.T).tocsr()
        edges = np.concatenate([edges, _bridges(part, places)])


def _bridges(part: npt.NDArray[np.int32], places: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """For each part but the largest the edge between its and the other parts' nearest two supervoxels."""
    largest = int(np.bincount(part).argmax())
    found = []
    for n in range(int(part.max()) + 1):
        if n == largest:
            continue
        own, others = np.flatnonzero(part == n), np.flatnonzero(part != n)
        distance, nearest = cKDTree(places[others]).query(places[own])
        best = int(distance.argmin())
        found.append((own[best], others[nearest[best]]))
    return np.array(found, np.int64)


def _grouped(means: Floats, neighbours: sparse.csr_matrix, count: int) -> npt.NDArray[np.int64]:
    """(n,) group of each supervoxel, from 0."""
    from sklearn.cluster import AgglomerativeClustering

    if count >= len(means):
        return np.arange(len(means))
    made = AgglomerativeClustering(n_clusters=count, connectivity=neighbours, linkage="ward").fit(means)
    return np.asarray(made.labels_, np.int64)
