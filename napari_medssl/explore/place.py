"""Where a place of one scan roughly lies in another: an expectation that correspondence starts from."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from napari_medssl.dense.grid import FeatureGrid
from napari_medssl.explore.cells import Mask, centres_of, check_space, checked_mask, chosen_cells
from napari_medssl.explore.similarity import SimilarityIndex
from napari_medssl.progress import Progress, Steps, finish
from napari_medssl.volume import Affine

_TAILS = (2.0, 98.0)  # percentiles of the body along each axis: an arm or a table does not make the box
_SCALES = (0.7, 1.4)  # people differ by less; beyond it a fit is wrong
_ROUNDS = 8  # of reweighting; the fit stands still before
_LEAST = 12  # matches that four numbers can be trusted to
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

    `count` cells of A, drawn with the seed, look for their nearest in B; kept are those whose nearest in A again lies
    within two cells of where they came from. Shift and scale along each axis are then fitted to the kept pairs, scales
    within 0.7 and 1.4, pairs far off weighing less and less (Geman and McClure 1987, its width falling to 20 mm). It
    needs no body mask and not the same extent, and knows no turns: scans lie in RAS.

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
    """`place_by_matches`, reporting after each block of cells."""
    check_space(b.grid, a.space, "the first scan's features are")
    inside_a, inside_b = (
        np.ones(i.grid.shape, bool) if m is None else checked_mask(i.grid, m) for i, m in ((a, body_a), (b, body_b))
    )
    cells = chosen_cells(a.grid, inside_a, count=count, seed=seed)
    start, end = [], []
    for n in range(0, len(cells), _BLOCK):
        part = cells[n : n + _BLOCK]
        there = _best(b, a.of_cells(part), inside_b)
        back = _best(a, b.of_cells(there), inside_a)
        from_mm, there_mm, back_mm = centres_of(a.grid, part), centres_of(b.grid, there), centres_of(a.grid, back)
        mutual = np.linalg.norm(back_mm - from_mm, axis=1) <= 2 * max(a.grid.spacing_mm)
        start.append(from_mm[mutual])
        end.append(there_mm[mutual])
        yield Progress(min(n + _BLOCK, len(cells)), len(cells), "finding the place")
    x, y = np.concatenate(start), np.concatenate(end)
    if len(x) < _LEAST:
        return place_by_boxes(a.grid, inside_a, b.grid, inside_b)
    return _robust(x, y)


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


def _best(index: SimilarityIndex, units: npt.NDArray[np.float32], inside: Mask) -> npt.NDArray[np.int64]:
    cosines = index.cosines(units)
    cosines[:, ~inside.ravel()] = -2.0
    return np.asarray(cosines.argmax(1), np.int64)


def _box(grid: FeatureGrid, mask: Mask) -> npt.NDArray[np.float64]:
    centres = centres_of(grid, np.flatnonzero(checked_mask(grid, mask)))
    return np.asarray(np.percentile(centres, _TAILS, axis=0))


def _affine(scale: npt.NDArray[np.float64], shift: npt.NDArray[np.float64]) -> Affine:
    found = np.diag([*scale, 1.0])
    found[:3, 3] = shift
    return found
