"""The same place in another scan: corresponding points by their features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_medssl.dense.grid import FeatureGrid
from napari_medssl.explore.cells import Floats, centres_of, check_space
from napari_medssl.explore.similarity import SimilarityIndex, similarity_index
from napari_medssl.progress import Progress, Steps, finish
from napari_medssl.settings import check, setting
from napari_medssl.volume import Affine

Points = npt.NDArray[np.float64]

# How many mm from the expected place outweigh how much likeness: at one `place_mm` off, a cosine 0.1 higher is needed.
_PLACE_COSINE = 0.1
_BLOCK = 32  # points at a time; their maps are held together

_AROUND = np.array([[a, b, c] for a in (-1, 0, 1) for b in (-1, 0, 1) for c in (-1, 0, 1)], np.float64)
"""(27, 3) directions of the neighbourhood that has to agree."""


@dataclass(frozen=True)
class NearestSettings:
    """How the nearest voxel is decided; the terms beside the cosine are ours (`docs/methods/exploring.md`)."""

    place_mm: float = setting(
        40.0, "Distance from the expected place that counts like a cosine 0.1 lower.", ge=1, le=1000
    )
    around_mm: float = setting(
        16.0, "Neighbours at this distance must look alike too; 0 looks at the point alone.", ge=0, le=100
    )
    candidates: int = setting(64, "Most alike places whose neighbours are compared.", ge=1, le=5000, advanced=True)
    apart_mm: float = setting(
        20.0, "The margin is to the best other place, at least this far away.", ge=0, le=1000, advanced=True
    )
    cycle_mm: float = setting(
        15.0, "A match is mutual when the way back ends this near to its start.", ge=0, le=1000, advanced=True
    )


@dataclass(frozen=True, eq=False)
class Correspondences:
    """Points found in another scan, in the order they were asked for.

    points_mm: (N, 3) RAS. similarity: (N,) cosine of the two features there, -1 to 1. margin: (N,) how much better the
    place is than the best one elsewhere, in the score that decided (the score itself when there is no elsewhere); near
    0 is a guess. cycle_mm: (N,) from the start to where the search back from the found point ends. mutual: (N,) bool,
    cycle_mm within the limit of the settings.
    """

    points_mm: Points
    similarity: Floats
    margin: Floats
    cycle_mm: Floats
    mutual: npt.NDArray[np.bool_]


def nearest_points(
    a: FeatureGrid | SimilarityIndex,
    points_mm: npt.ArrayLike,
    b: FeatureGrid | SimilarityIndex,
    *,
    place: Affine | None = None,
    settings: NearestSettings | None = None,
) -> Correspondences:
    """Where points of scan A lie in scan B.

    a, b: the grids, or their indexes when there is more to ask; a grid is centred on its own mean. points_mm: (N, 3) or
    (3,) RAS mm in A. place: (4, 4) RAS mm of A to roughly RAS mm of B, as `place_by_boxes` and `place_by_matches` give
    it; without it every place of B is as likely. Found points lie between cells: the score around the best is taken
    for a parabola.

    Raises GeometryError for points beyond A's grid or grids of different spaces, VolumeError when all vectors of one
    are equal, SettingsError.
    """
    return finish(nearest_points_steps(a, points_mm, b, place=place, settings=settings))


def nearest_points_steps(
    a: FeatureGrid | SimilarityIndex,
    points_mm: npt.ArrayLike,
    b: FeatureGrid | SimilarityIndex,
    *,
    place: Affine | None = None,
    settings: NearestSettings | None = None,
) -> Steps[Correspondences]:
    """`nearest_points`, reporting after each block of points."""
    settings = settings or NearestSettings()
    check(settings)
    first, second = (i if isinstance(i, SimilarityIndex) else similarity_index(i) for i in (a, b))
    check_space(second.grid, first.space, "the first scan's features are")
    points = np.atleast_2d(np.asarray(points_mm, np.float64)).reshape(-1, 3)
    blocks = [points[n : n + _BLOCK] for n in range(0, len(points), _BLOCK)]
    back_place = None if place is None else np.asarray(np.linalg.inv(place), np.float64)
    parts = []
    for n, block in enumerate(blocks):
        yield Progress(n, len(blocks), "finding points")
        found, margin = _matched(first, block, second, place, settings)
        back, _ = _matched(second, found, first, back_place, settings)
        likeness = (first.at(block) * second.at(found)).sum(1)
        parts.append((found, likeness, margin, np.linalg.norm(back - block, axis=1)))
    if not parts:
        none = np.zeros(0, np.float32)
        return Correspondences(points, none, none, none, none.astype(bool))
    found, likeness, margin, cycle = (np.concatenate(p) for p in zip(*parts, strict=True))
    likeness = np.clip(likeness, -1, 1).astype(np.float32)
    return Correspondences(
        found, likeness, margin.astype(np.float32), cycle.astype(np.float32), cycle <= settings.cycle_mm
    )


def _matched(
    a: SimilarityIndex, points: Points, b: SimilarityIndex, place: Affine | None, settings: NearestSettings
) -> tuple[Points, npt.NDArray[np.float64]]:
    """(N, 3) places in B and (N,) margins."""
    around = _neighbourhood(a, points, settings.around_mm)
    scores = b.cosines(around[:, len(_AROUND) // 2] if settings.around_mm else around[:, 0])
    scores = scores.reshape(-1, *b.grid.shape)
    if place is not None:
        scores -= _too_far(b.grid, points @ place[:3, :3].T + place[:3, 3], settings.place_mm)
    turn = np.eye(3) if place is None else np.asarray(place[:3, :3])
    results = [_decided(s, u, b, turn, settings) for s, u in zip(scores, around, strict=True)]
    found, margins = zip(*results, strict=True)
    return np.stack(found), np.array(margins)


def _neighbourhood(a: SimilarityIndex, points: Points, around_mm: float) -> Floats:
    """(N, 27, C) unit vectors around each point of A: its own, interpolated, and those of the cells at its neighbours.

    (N, 1, C) when nothing around counts. Where the scan ends its border goes on.
    """
    own = a.at(points)
    if not around_mm:
        return own[:, None]
    index = a.grid.index_of((points[:, None] + around_mm * _AROUND).reshape(-1, 3))
    nearest = np.clip(np.floor(index + 0.5), 0, np.array(a.grid.shape) - 1).astype(np.int64)
    found = a.of_cells(np.ravel_multi_index(tuple(nearest.T), a.grid.shape)).reshape(len(points), len(_AROUND), -1)
    found[:, len(_AROUND) // 2] = own
    return found


def _too_far(grid: FeatureGrid, expected: Points, place_mm: float) -> Floats:
    """(N, Z, Y, X) what distance from the expected place takes off the cosine."""
    centres = grid.centres_mm().astype(np.float32)
    squares = ((centres**2).sum(1) - 2 * expected.astype(np.float32) @ centres.T).reshape(-1, *grid.shape)
    squares += (expected**2).sum(1).astype(np.float32)[:, None, None, None]
    return np.asarray(_PLACE_COSINE * squares / place_mm**2, np.float32)


def _decided(
    score: Floats, around: Floats, b: SimilarityIndex, turn: npt.NDArray[np.float64], settings: NearestSettings
) -> tuple[npt.NDArray[np.float64], float]:
    """RAS mm of the best place in B and its margin, from the (Z, Y, X) score of one point."""
    cells = _peaks(score, settings.candidates)
    final = score.ravel()[cells].astype(np.float64)
    places = centres_of(b.grid, cells)
    if len(around) > 1:
        final += (
            _agreement(around, b, places, settings.around_mm * _AROUND @ turn.T)
            - b.of_cells(cells) @ around[len(around) // 2]
        )
    best = int(final.argmax())
    far = np.linalg.norm(places - places[best], axis=1) >= settings.apart_mm
    far[best] = False
    margin = final[best] - (final[far].max() if far.any() else 0.0)
    return _between(score, int(cells[best]), b.grid), float(margin)


def _peaks(score: Floats, count: int) -> npt.NDArray[np.int64]:
    """Flat indices of the `count` highest cells that none of their neighbours surpasses."""
    tops = np.flatnonzero(score >= ndimage.maximum_filter(score, size=3, mode="nearest"))
    order = np.argsort(-score.ravel()[tops], kind="stable")[:count]
    return np.asarray(tops[order], np.int64)


def _agreement(
    around: Floats, b: SimilarityIndex, places: npt.NDArray[np.float64], shifts: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """(K,) mean cosine of the neighbourhood with that of each candidate, cell by cell, the point itself included.

    Neighbours beyond B's grid are left out there, so that a place at the border is judged by what is seen of it.
    """
    index = np.floor(b.grid.index_of((places[:, None] + shifts).reshape(-1, 3)) + 0.5).astype(np.int64)
    inside = ((index >= 0) & (index < b.grid.shape)).all(1)
    cells = np.ravel_multi_index(tuple(np.clip(index, 0, np.array(b.grid.shape) - 1).T), b.grid.shape)
    vectors = b.of_cells(cells).reshape(len(places), len(shifts), -1)
    cosines = np.einsum("knc,nc->kn", vectors, around)
    seen = inside.reshape(len(places), len(shifts))
    return np.asarray((cosines * seen).sum(1) / np.maximum(seen.sum(1), 1), np.float64)


def _between(score: Floats, cell: int, grid: FeatureGrid) -> npt.NDArray[np.float64]:
    """RAS mm of the top of the parabola through the best cell and its two neighbours along each axis."""
    index = np.array(np.unravel_index(cell, grid.shape), np.float64)
    at = tuple(int(i) for i in index)
    for axis in range(3):
        if not 0 < at[axis] < grid.shape[axis] - 1:
            continue
        low, high = (float(score[tuple(i + d * (a == axis) for a, i in enumerate(at))]) for d in (-1, 1))
        bend = low - 2 * float(score[at]) + high
        if bend < 0:
            index[axis] += np.clip(0.5 * (low - high) / bend, -0.5, 0.5)
    return np.asarray(grid.affine[:3, :3] @ index + grid.affine[:3, 3])
