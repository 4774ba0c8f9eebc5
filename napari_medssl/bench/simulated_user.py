"""A user made of rules: labels the slice a rule names, and strokes through what is most wrong."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.graph import route_through_array

from napari_medssl.oneshot.stroke import Stroke

Bools = npt.NDArray[np.bool_]
BRUSH_MM = 2.5
"""Radius of the brush; never wider than fits into the region."""
_LEAST_PX = 5  # nobody corrects less


def next_stroke(
    labels: npt.NDArray[np.integer],
    truth: npt.NDArray[np.integer],
    *,
    spacing_mm: tuple[float, float, float],
    without: Iterable[int] = (),
    seed: int | None = None,
) -> Stroke | None:
    """The stroke this user makes next, or None when nothing larger than 4 pixels in one piece is wrong.

    labels, truth: (Z, Y, X). without: slices the user does not correct. seed: None takes the largest wrong region, a
    number one of the three largest by chance; everything else is without chance.

    A wrong region is connected within a slice (8 neighbours), and one organ is missing from it, or a wrong one, or any,
    stands in it. The stroke runs along the middle of the region, is as wide as a brush of 2.5 mm, and stays in it.
    """
    skipped = set(without)
    found: list[tuple[int, int, int, Bools]] = []
    for z in range(len(labels)):
        if z in skipped or np.array_equal(labels[z], truth[z]):
            continue
        for value in np.unique(truth[z][labels[z] != truth[z]]):
            pieces, _ = ndimage.label((labels[z] != truth[z]) & (truth[z] == value), np.ones((3, 3)))
            sizes = np.bincount(pieces.ravel())[1:]
            best = int(sizes.argmax()) + 1
            if sizes[best - 1] >= _LEAST_PX:
                found.append((int(sizes[best - 1]), z, int(value), pieces == best))
    if not found:
        return None
    found.sort(key=lambda f: (-f[0], f[1], f[2]))
    number = 0 if seed is None else int(np.random.default_rng(seed).integers(min(3, len(found))))
    _, z, value, region = found[number]
    at = np.argwhere(line_through(region, spacing_mm[1:]))
    return Stroke(np.column_stack([np.full(len(at), z), at]), np.full(len(at), value))


def line_through(region: Bools, spacing_mm: tuple[float, float]) -> Bools:
    """(Y, X) bool: a brush drawn along the middle of a region, from one end of its inner half to the other."""
    depth = ndimage.distance_transform_edt(np.pad(region, 1), sampling=spacing_mm)[1:-1, 1:-1]
    deepest = np.unravel_index(int(depth.argmax()), depth.shape)
    pieces, _ = ndimage.label(depth >= 0.5 * depth.max(), np.ones((3, 3)))
    inner = np.argwhere(pieces == pieces[deepest])
    start = _farthest(inner, inner[0])
    cost = np.where(region, 1 / np.maximum(depth, 1e-3), 1e6)
    path, _ = route_through_array(cost, start, _farthest(inner, start))  # type: ignore[no-untyped-call]
    line = np.zeros(region.shape, bool)
    line[tuple(np.array(path).T)] = True
    radius = min(BRUSH_MM, 0.7 * float(depth.max()))
    return np.asarray((ndimage.distance_transform_edt(~line, sampling=spacing_mm) <= radius) & region)


def _farthest(points: npt.NDArray[np.intp], start: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    return np.asarray(points[int(((points - start) ** 2).sum(1).argmax())])
