"""The distortions of Models Genesis (Zhou et al., 2021): intensity curve, local shuffling, in- and out-painting, flips.

Everything is drawn first, as small arrays, and works on 8-bit crops in the processes that load them. Rates and sizes
are those of the public code, as paper 002 used it (S74).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Size = tuple[int, int, int]

SHUFFLED_BLOCKS, SHUFFLED_IN = 10_000, 32 * 64 * 64
"""Blocks shuffled in a crop of the published size; smaller and larger crops get their share (ours)."""

_MOST_BOXES, _ANOTHER_BOX = 5, 0.95  # boxes painted or kept, and the chance of each further one


@dataclass(frozen=True)
class GenesisRates:
    """How often each distortion happens.

    painting: of either kind; outpainting: share of it that paints the outside. flip: for each axis.
    """

    curve: float = 0.9
    shuffling: float = 0.5
    painting: float = 0.9
    outpainting: float = 0.8
    flip: float = 0.4


UNDISTORTED = GenesisRates(curve=0.0, shuffling=0.0, painting=0.0, outpainting=0.0, flip=0.0)
"""Leaves crops as they are: the plain autoencoder."""


def draw_curve(rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """(256,) 8-bit intensity to intensity: a cubic Bezier curve with two random control points, half the time falling.

    The curve goes from black to black and white to white, or, when falling, from black to white. Control points in the
    unit square make it monotone, so that no two tissues change places within a curve.
    """
    t = np.linspace(0, 1, 257)[:, None]
    first, second = rng.random((2, 2))
    points = 3 * (1 - t) ** 2 * t * first + 3 * (1 - t) * t**2 * second + t**3  # ends (0, 0) and (1, 1)
    levels = np.interp(np.linspace(0, 1, 256), points[:, 0], points[:, 1])
    if rng.random() < 0.5:
        levels = 1 - levels
    curve: npt.NDArray[np.uint8] = (levels * 255).round().astype(np.uint8)
    return curve


def draw_shuffle(rng: np.random.Generator, size: Size) -> npt.NDArray[np.int32]:
    """(Z * Y * X,) the voxel that each voxel's value comes from: boxes of up to a tenth of each side, shuffled inside.

    10,000 boxes in a crop of 32 x 64 x 64, in proportion in others; every box takes the values of the undistorted crop,
    and where boxes overlap one of them shows. Boxes of one shape are shuffled together, which makes this cheap; the
    shapes come in random order.
    """
    blocks = max(1, round(SHUFFLED_BLOCKS * math.prod(size) / SHUFFLED_IN))
    most = np.array([max(1, n // 10) for n in size])
    sides = rng.integers(1, most + 1, (blocks, 3))
    corners = (rng.random((blocks, 3)) * (np.array(size) - sides + 1)).astype(np.int64)
    starts = np.ravel_multi_index(tuple(corners.T), size).astype(np.int32)
    voxels = np.arange(math.prod(size), dtype=np.int32)
    source = voxels.copy()
    shapes, kinds = np.unique(np.ravel_multi_index(tuple(sides.T - 1), tuple(most)), return_inverse=True)
    members = np.split(np.argsort(kinds, kind="stable"), np.cumsum(np.bincount(kinds))[:-1])
    for i in rng.permutation(len(shapes)):
        z, y, x = 1 + np.array(np.unravel_index(shapes[i], tuple(most)))
        inside = voxels.reshape(size)[:z, :y, :x].reshape(-1)
        first = starts[members[i]][:, None]
        # One order for each box; twice as fast as rng.permuted.
        order = rng.random((len(first), len(inside)), dtype=np.float32).argsort(1)  # (boxes, voxels of a box)
        source[first + inside] = first + inside[order]
    return source


def draw_inpainting(rng: np.random.Generator, size: Size) -> npt.NDArray[np.bool_]:
    """(Z, Y, X) the voxels to paint over: up to five boxes of a sixth to a third of each side."""
    return _boxes(rng, size, 1 / 6, 1 / 3)


def draw_outpainting(rng: np.random.Generator, size: Size) -> npt.NDArray[np.bool_]:
    """(Z, Y, X) the voxels to paint over: all but up to five windows of 3/7 to 4/7 of each side."""
    return ~_boxes(rng, size, 3 / 7, 4 / 7)


def draw_noise(rng: np.random.Generator, size: Size) -> npt.NDArray[np.uint8]:
    """(Z, Y, X) uniform 8-bit noise, which painted voxels show."""
    return np.frombuffer(rng.bytes(math.prod(size)), np.uint8).reshape(size)


def _boxes(rng: np.random.Generator, size: Size, low: float, high: float) -> npt.NDArray[np.bool_]:
    marked = np.zeros(size, np.bool_)
    for i in range(_MOST_BOXES):
        if i and rng.random() >= _ANOTHER_BOX:
            break
        sides = [int(rng.integers(max(1, int(n * low)), max(1, int(n * high)) + 1)) for n in size]
        corner = [int(rng.integers(n - side + 1)) for n, side in zip(size, sides, strict=True)]
        marked[tuple(slice(c, c + side) for c, side in zip(corner, sides, strict=True))] = True
    return marked


def flip_randomly(crop: np.ndarray, rng: np.random.Generator, chance: float) -> np.ndarray:
    """A (Z, Y, X) crop, each axis flipped with this chance. The public code flips a random axis while it is lucky."""
    flipped = crop[tuple(slice(None, None, -1 if lucky else 1) for lucky in rng.random(3) < chance)]
    return np.ascontiguousarray(flipped)


def distort(crop: np.ndarray, rng: np.random.Generator, rates: GenesisRates) -> np.ndarray:
    """A distorted copy of a (Z, Y, X) uint8 crop: shuffling, then curve, then painting; flips are made beforehand,
    because the original to be restored is flipped with its copy.
    """
    z, y, x = crop.shape
    size = (z, y, x)
    out = crop.copy()
    if rng.random() < rates.shuffling:
        out = out.reshape(-1)[draw_shuffle(rng, size)].reshape(size)
    if rng.random() < rates.curve:
        out = draw_curve(rng)[out]
    if rng.random() < rates.painting:
        outside = rng.random() < rates.outpainting
        painted = draw_outpainting(rng, size) if outside else draw_inpainting(rng, size)
        out = np.where(painted, draw_noise(rng, size), out)
    return out
