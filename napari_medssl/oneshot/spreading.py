"""How far a correction reaches: a painted change of a map, spread until the image or the map has an edge."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Spread:
    """How a correction spreads (ours; chosen on scans held out from the weights, see docs/confidence.md).

    length_mm: in even tissue the change falls to 1/e over this distance. image_edge, map_edge: how much weaker the
    link between neighbours becomes with their difference in brightness (in standard deviations of the region) and in
    probability. certainty: how much a voxel of which the map is sure resists. nodes: most blocks of one region.
    """

    length_mm: float = 40.0
    image_edge: float = 20.0
    map_edge: float = 2.0
    certainty: float = 0.0
    nodes: int = 100_000


_LEAST_LINK = 1e-3  # of the strongest: no voxel is cut off altogether
_TOLERANCE, _ROUNDS = 0.005, 200


def spread_change(
    change: Floats,
    fixed: Bools,
    probability: Floats,
    image: Floats,
    *,
    spacing_mm: tuple[float, float, float],
    how: Spread,
) -> Floats:
    """The change everywhere that fits the change where it is fixed.

    It minimises sum w_ij (u_i - u_j)^2 + sum g_i u_i^2 over the voxels that are not fixed: a random walker that may
    stop at every voxel (screened Poisson equation). w falls with edges in the image, as in Grady 2006
    (doi 10.1109/TPAMI.2006.233), and in the map, and with the square of the distance in mm. Ours: the change is
    spread, not the labels, so that far from the strokes the map stays what it was.

    change, fixed: (Z, Y, X); the change counts where `fixed`. probability, image: (Z, Y, X) in [0, 1].
    Returns (Z, Y, X) float32, exact where fixed. Regions of more than `how.nodes` voxels are solved on blocks.
    """
    factors = _coarseness(change.shape, spacing_mm, how.nodes)
    if factors == (1, 1):
        return _solve(change, fixed, probability, image, spacing_mm, how)
    z_mm, y_mm, x_mm = spacing_mm
    cover = block_means(fixed.astype(np.float32), factors)
    # A block with a fixed voxel changes as its fixed voxels do on average.
    painted = block_means(np.where(fixed, change, 0).astype(np.float32), factors)
    coarse = (painted / np.maximum(cover, 1e-9)).astype(np.float32)
    solved = _solve(
        coarse,
        cover > 0,
        block_means(probability, factors),
        block_means(image, factors),
        (z_mm * factors[0], y_mm * factors[1], x_mm * factors[1]),
        how,
    )
    return np.where(fixed, change, enlarge(solved, factors, change.shape)).astype(np.float32)


def _coarseness(shape: tuple[int, ...], spacing_mm: tuple[float, float, float], nodes: int) -> tuple[int, int]:
    """Slices and pixels per block, the thinner side growing first until there are few enough blocks."""
    across, within = 1, 1
    while -(-shape[0] // across) * -(-shape[1] // within) * -(-shape[2] // within) > nodes:
        if within * spacing_mm[1] <= across * spacing_mm[0]:
            within += 1
        else:
            across += 1
    return across, within


def block_means(data: Floats, factors: tuple[int, int]) -> Floats:
    """(Z, Y, X) means over blocks of `factors` slices and pixels a side, smaller ones at the far ends."""
    for axis, factor in enumerate((factors[0], factors[1], factors[1])):
        if factor > 1:
            starts = np.arange(0, data.shape[axis], factor)
            sizes = np.diff(starts, append=data.shape[axis]).astype(np.float32)
            data = np.add.reduceat(data, starts, axis=axis)
            data = data / sizes.reshape([-1 if a == axis else 1 for a in range(3)])
    return data


def enlarge(data: Floats, factors: tuple[int, int], shape: tuple[int, ...]) -> Floats:
    """Blocks back to voxels, linearly between the blocks' centres; the inverse of `block_means` for even data."""
    for axis, factor in enumerate((factors[0], factors[1], factors[1])):
        if factor == 1:
            continue
        at = (np.arange(shape[axis]) + 0.5) / factor - 0.5
        at = np.clip(at, 0, data.shape[axis] - 1)
        low = np.floor(at).astype(int)
        share = (at - low).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
        high = np.minimum(low + 1, data.shape[axis] - 1)
        data = (1 - share) * data.take(low, axis) + share * data.take(high, axis)
    return data


def _solve(
    change: Floats,
    fixed: Bools,
    probability: Floats,
    image: Floats,
    spacing_mm: tuple[float, float, float],
    how: Spread,
) -> Floats:
    """Conjugate gradients (Hestenes and Stiefel 1952) with the diagonal as preconditioner, on whole arrays."""
    links = [_links(axis, probability, image, how) * (how.length_mm / h) ** 2 for axis, h in enumerate(spacing_mm)]
    own = (1 + how.certainty * (2 * probability - 1) ** 2).astype(np.float32)
    diagonal = own + _neighbours_sum(links, change.shape)
    free = (~fixed).astype(np.float32)
    u = np.where(fixed, change, 0).astype(np.float32)
    residual = -free * _apply(u, links, diagonal)
    start = float(np.abs(residual).max(initial=0.0))
    if not start:
        return u
    scaled = residual / diagonal
    direction = scaled.copy()
    energy = first = float((residual * scaled).sum())
    for _ in range(_ROUNDS):
        moved = free * _apply(direction, links, diagonal)
        step = energy / float((direction * moved).sum())
        u += np.float32(step) * direction
        residual -= np.float32(step) * moved
        scaled = residual / diagonal
        before, energy = energy, float((residual * scaled).sum())
        if energy <= _TOLERANCE**2 * first:
            break
        direction = scaled + np.float32(energy / before) * direction
    return u


def _links(axis: int, probability: Floats, image: Floats, how: Spread) -> Floats:
    """Strength of the link from each voxel to the next along an axis, in (0, 1]."""
    spread = float(image.std()) or 1.0
    steps = (np.diff(image, axis=axis) / spread) ** 2
    turns = np.diff(probability, axis=axis) ** 2
    return (np.exp(-how.image_edge * steps - how.map_edge * turns) + _LEAST_LINK).astype(np.float32)


def _sides(axis: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    first, last = [slice(None)] * 3, [slice(None)] * 3
    first[axis], last[axis] = slice(0, -1), slice(1, None)
    return tuple(first), tuple(last)


def _neighbours_sum(links: list[Floats], shape: tuple[int, ...]) -> Floats:
    total = np.zeros(shape, np.float32)
    for axis, link in enumerate(links):
        first, last = _sides(axis)
        total[first] += link
        total[last] += link
    return total


def _apply(u: Floats, links: list[Floats], diagonal: Floats) -> Floats:
    out = diagonal * u
    for axis, link in enumerate(links):
        first, last = _sides(axis)
        out[first] -= link * u[last]
        out[last] -= link * u[first]
    return out


def reach_vox(reach_mm: float, spacing_mm: float) -> int:
    """Voxels of a reach, at least one."""
    return max(1, math.ceil(reach_mm / spacing_mm))
