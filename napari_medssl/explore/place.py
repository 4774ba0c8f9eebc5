"""Where a place of one scan roughly lies in another: an expectation that correspondence starts from."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from napari_medssl.dense.grid import FeatureGrid
from napari_medssl.explore.cells import Cells, Floats, Mask, centres_of, check_space, checked_mask, chosen_cells
from napari_medssl.explore.similarity import SimilarityIndex
from napari_medssl.progress import Progress, Steps, finish
from napari_medssl.volume import Affine

_TAILS = (2.0, 98.0)  # percentiles of the body along each axis: an arm or a table does not make the box
_SCALES = (0.7, 1.4)  # people differ by less; beyond it a fit is wrong
_ROUNDS = 8  # of reweighting; the fit stands still before
_LEAST = 12  # matches that four numbers can be trusted to
_CANDIDATES = 8000  # cells of a body to match among: 11 mm apart in an abdomen, near enough for a fit
_AROUND_MM = 35.0  # of 0, 20, 35 and 50 the one that placed organs best, on pairs of CT and MR scans
_BLOCK = 64  # cells matched at a time


def place_by_boxes(grid_a: FeatureGrid, body_a: Mask, grid_b: FeatureGrid, body_b: Mask) -> Affine:
    """(4, 4) RAS mm of scan A to RAS mm of scan B: box of the body to box of the body, axis by axis.

    Right and left, front and back fit people of different size. Along the body it is right only when both scans
    show the same part of it; `place_by_matches` does not need that. Scales stay within 0.7 and 1.4.
    Raises GeometryError for a mask that does not fit its grid or is empty.
    """
    (low_a, high_a), (low_b, high_b) = (_box(g, m) for g, m in ((grid_a, body_a), (grid_b, body_b)))
    flat = (high_a - low_a < 1e-6) | (high_b - low_b < 1e-6)
    scale = np.where(flat, 1.0, (high_b - low_b) / np.where(flat, 1.0, high_a - low_a)).clip(*_SCALES)
    return _affine(scale, (low_b + high_b) / 2 - scale * (low_a + high_a) / 2)


def place_by_matches(
    a: SimilarityIndex,
    b: SimilarityIndex,
    *,
    body_a: Mask | None = None,
    body_b: Mask | None = None,
    count: int = 600,
    seed: int = 0,
) -> Affine:
    """(4, 4) RAS mm of scan A to RAS mm of scan B, from what looks alike in both (ours).

    `count` cells of A, drawn with the seed, look for their most alike among 8,000 of B, and these again in A; alike
    counts the six neighbours 35 mm away, too. Kept are those that come back to within twice the distance of
    neighbouring candidates. Shift and scale along each axis are then fitted to the kept pairs, scales within 0.7 and
    1.4, pairs far off weighing less and less (Geman and McClure 1987, the width falling to 20 mm). It needs no body
    mask and not the same extent, and knows no turns: scans lie in RAS.

    body_a, body_b: cells to match among. With fewer than 12 kept pairs the answer is that of the boxes.
    Raises GeometryError when the spaces differ or a mask does not fit.
    """
    return finish(place_by_matches_steps(a, b, body_a=body_a, body_b=body_b, count=count, seed=seed))


def place_by_matches_steps(
    a: SimilarityIndex,
    b: SimilarityIndex,
    *,
    body_a: Mask | None = None,
    body_b: Mask | None = None,
    count: int = 600,
    seed: int = 0,
) -> Steps[Affine]:
    """`place_by_matches`, reporting what it does."""
    check_space(b.grid, a.space, "the first scan's features are")
    inside_a, inside_b = (
        np.ones(i.grid.shape, bool) if m is None else checked_mask(i.grid, m) for i, m in ((a, body_a), (b, body_b))
    )
    yield Progress(0, 2, "finding the place")
    in_a, in_b = (chosen_cells(i.grid, m, count=_CANDIDATES, seed=seed) for i, m in ((a, inside_a), (b, inside_b)))
    units_a, units_b = _with_neighbours(a, in_a), _with_neighbours(b, in_b)
    yield Progress(1, 2, "finding the place")
    start = np.sort(np.random.default_rng(seed).permutation(len(in_a))[:count])
    there = _most_alike(units_a[start], units_b)
    back = _most_alike(units_b[there], units_a)
    at_a, at_b = centres_of(a.grid, in_a), centres_of(b.grid, in_b)
    apart = (abs(np.linalg.det(a.grid.affine[:3, :3])) * inside_a.sum() / len(in_a)) ** (1 / 3)
    mutual = np.linalg.norm(at_a[back] - at_a[start], axis=1) <= 2 * max(apart, *a.grid.spacing_mm)
    if mutual.sum() < _LEAST:
        return place_by_boxes(a.grid, inside_a, b.grid, inside_b)
    return _robust(at_a[start[mutual]], at_b[there[mutual]])


def _robust(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> Affine:
    scale, shift = np.ones(3), np.median(y - x, axis=0)
    for width in np.geomspace(80.0, 20.0, _ROUNDS):
        squares = ((scale * x + shift - y) ** 2).sum(1)
        weights = (width**2 / (width**2 + squares)) ** 2
        weights /= weights.sum()
        mean_x, mean_y = weights @ x, weights @ y
        spread = weights @ (x - mean_x) ** 2
        # With little extent along an axis its scale is not known: a prior of 1 as strong as a spread of 10 mm.
        scale = ((weights @ ((x - mean_x) * (y - mean_y)) + 100.0) / (spread + 100.0)).clip(*_SCALES)
        shift = mean_y - scale * mean_x
    return _affine(scale, shift)


def _with_neighbours(index: SimilarityIndex, cells: Cells) -> Floats:
    """(N, 7 C) unit vectors of cells and of the six to their sides, together at length 1 or less."""
    grid, centres = index.grid, centres_of(index.grid, cells)
    parts = [index.of_cells(cells)]
    for shift in (*np.eye(3), *-np.eye(3)):
        at = np.floor(grid.index_of(centres + _AROUND_MM * shift) + 0.5).astype(np.int64)
        beside = np.clip(at, 0, np.array(grid.shape) - 1)
        parts.append(index.of_cells(np.ravel_multi_index(tuple(beside.T), grid.shape)))
    return np.concatenate(parts, 1) / np.float32(np.sqrt(len(parts)))


def _most_alike(units: Floats, among: Floats) -> npt.NDArray[np.int64]:
    """(N,) row of `among` with the largest cosine for each of (N, C) unit vectors."""
    across = np.ascontiguousarray(among.T)
    parts = [(units[n : n + _BLOCK] @ across).argmax(1) for n in range(0, len(units), _BLOCK)]
    return np.concatenate(parts).astype(np.int64)


def _box(grid: FeatureGrid, mask: Mask) -> npt.NDArray[np.float64]:
    centres = centres_of(grid, np.flatnonzero(checked_mask(grid, mask)))
    return np.asarray(np.percentile(centres, _TAILS, axis=0))


def _affine(scale: npt.NDArray[np.float64], shift: npt.NDArray[np.float64]) -> Affine:
    found = np.diag([*scale, 1.0])
    found[:3, 3] = shift
    return found
