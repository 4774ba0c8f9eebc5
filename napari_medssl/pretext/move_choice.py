"""The finite set of geometric changes of thesis chapter 3, and draws from it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

ROTATIONS_DEG = (-15.0, 0.0, 15.0)  # R of thesis 3.3.1
SHIFTS = (-1, 0, 1)  # Tr_x and Tr_y, times a tenth of the side in whole pixels
SCALES = (1.0, 1.2)  # S
MOVE_CLASSES = len(ROTATIONS_DEG) * len(SHIFTS) ** 2 * len(SCALES)  # 54


def move_of(label: npt.ArrayLike, side: int) -> npt.NDArray[np.float32]:
    """(..., 4) float32 moves of classes 0 to 53: rotation in degrees, shift along y and x in pixels, scale.

    The class counts through scale first, then the shifts along x and y, then the rotation.
    side: that of the square the shifts are a tenth of.
    """
    rotation, y, x, scale = np.unravel_index(np.asarray(label), (3, 3, 3, 2))
    shifts = np.array(SHIFTS) * (side // 10)
    columns = [np.array(ROTATIONS_DEG)[rotation], shifts[y], shifts[x], np.array(SCALES)[scale]]
    return np.stack(columns, -1).astype(np.float32)


def label_of(move: npt.ArrayLike, side: int) -> npt.NDArray[np.int64]:
    """The classes of (..., 4) moves; the inverse of `move_of`."""
    rotation, y, x, scale = np.moveaxis(np.asarray(move), -1, 0)
    shift = side // 10
    places = (np.sign(rotation) + 1, np.rint(y / shift) + 1, np.rint(x / shift) + 1, scale > sum(SCALES) / 2)
    return np.ravel_multi_index([np.asarray(p).astype(np.int64) for p in places], (3, 3, 3, 2))


def draw_discrete_moves(rng: np.random.Generator, count: int, side: int) -> npt.NDArray[np.float32]:
    """(count, 4) moves drawn from the finite set (B3-13, default)."""
    return move_of(rng.integers(MOVE_CLASSES, size=count), side)


def draw_continuous_moves(rng: np.random.Generator, count: int, side: int) -> npt.NDArray[np.float32]:
    """(count, 4) moves with rotation and shifts from the whole ranges; the scale stays one of two (thesis 3.4.1.3)."""
    shift = side // 10
    rotation = rng.uniform(ROTATIONS_DEG[0], ROTATIONS_DEG[-1], (count, 1))
    shifts = rng.uniform(-shift, shift, (count, 2))
    return np.concatenate([rotation, shifts, rng.choice(SCALES, (count, 1))], 1).astype(np.float32)


def still(count: int) -> npt.NDArray[np.float32]:
    """(count, 4) moves that change nothing."""
    return np.tile(np.array([0, 0, 0, 1], np.float32), (count, 1))
