"""Solids in patient coordinates, each as its depth in mm: positive inside, zero on the surface, negative outside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Depth = npt.NDArray[np.floating[Any]]
Point = tuple[float, float, float]


@dataclass(frozen=True)
class Points:
    """Where voxels lie in the patient: right, anterior and superior in mm, arrays of one shape."""

    r: Depth
    a: Depth
    s: Depth

    def at(self, part: tuple[slice, ...]) -> Points:
        """The points of a part of the grid (views)."""
        return Points(self.r[part], self.a[part], self.s[part])


def ellipsoid(p: Points, centre: Point, radii: Point, *, turn: npt.NDArray[np.float64] | None = None) -> Depth:
    """Depth along the ray from the centre, which is exact for a sphere and close for mild ellipsoids.

    turn: (3, 3) rotation whose rows are the ellipsoid's own axes in (right, anterior, superior).
    """
    r, a, s = p.r - np.float32(centre[0]), p.a - np.float32(centre[1]), p.s - np.float32(centre[2])
    if turn is not None:
        t = turn.astype(np.float32)
        r, a, s = (t[i, 0] * r + t[i, 1] * a + t[i, 2] * s for i in range(3))
    unit = np.sqrt(r * r * radii[0] ** -2 + a * a * radii[1] ** -2 + s * s * radii[2] ** -2) + np.float32(1e-4)
    length: Depth = np.sqrt(r * r + a * a + s * s)
    return length / unit - length


def outline(p: Points, half_r: float, half_a: float, *, power: float = 2.3) -> Depth:
    """Depth below the surface of a superelliptic cylinder along S (power 2 is an ellipse, larger is boxier)."""
    r, a = np.abs(p.r), np.abs(p.a)
    unit = ((r / half_r) ** power + (a / half_a) ** power) ** (1 / power) + np.float32(1e-4)
    length: Depth = np.sqrt(r * r + a * a)
    return length / unit - length


def tube(p: Points, path: Sequence[Point], radii: Sequence[float]) -> Depth:
    """Depth in a chain of round cones through `path` (at least two points) with a radius at every point."""
    best: Depth = np.full(p.r.shape, -np.inf, np.float32)
    for start, end, first, last in zip(path[:-1], path[1:], radii[:-1], radii[1:], strict=True):
        along = np.subtract(end, start).astype(np.float32)
        r, a, s = p.r - np.float32(start[0]), p.a - np.float32(start[1]), p.s - np.float32(start[2])
        t = np.clip((r * along[0] + a * along[1] + s * along[2]) / np.float32(along @ along), 0, 1)
        gone = np.sqrt((r - t * along[0]) ** 2 + (a - t * along[1]) ** 2 + (s - t * along[2]) ** 2)
        np.maximum(best, np.float32(first) + np.float32(last - first) * t - gone, out=best)
    return best


def both(*depths: Depth) -> Depth:
    """Inside all of them."""
    result = depths[0]
    for depth in depths[1:]:
        result = np.minimum(result, depth)
    return result


def either(one: Depth, other: Depth, *, blend_mm: float) -> Depth:
    """Inside one or the other, with the crease between them filled over about `blend_mm` (polynomial smooth union)."""
    h = np.clip(0.5 + 0.5 * (one - other) / np.float32(blend_mm), 0, 1)
    blended: Depth = other + (one - other) * h + np.float32(blend_mm) * h * (1 - h)
    return blended


def turned(yaw_deg: float, roll_deg: float, pitch_deg: float) -> npt.NDArray[np.float64]:
    """(3, 3) rotation: about the S axis, then the A axis, then the R axis."""
    y, o, q = np.deg2rad([yaw_deg, roll_deg, pitch_deg])
    about_s = np.array([[np.cos(y), -np.sin(y), 0], [np.sin(y), np.cos(y), 0], [0, 0, 1]])
    about_a = np.array([[np.cos(o), 0, np.sin(o)], [0, 1, 0], [-np.sin(o), 0, np.cos(o)]])
    about_r = np.array([[1, 0, 0], [0, np.cos(q), -np.sin(q)], [0, np.sin(q), np.cos(q)]])
    return np.asarray(about_r @ about_a @ about_s)
