"""Boxes of voxels cut from scans: placed at random, padded where the scan ends, redrawn where there is only air."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from scipy import ndimage

from napari_medssl.errors import SettingsError
from napari_medssl.pretext.scan import Scan

Size: TypeAlias = tuple[int, int, int]
"""Voxels along z, y and x; the papers' 64 x 64 x 32 (height, width, depth) is (32, 64, 64) here."""

_AIR = 20  # of 255: 8 % of the intensity window, below which the slice encoder counts a pixel as air, too
BODY_SHARE = 0.1
"""Ours: a box with less body teaches nothing about turns, places or likeness."""

_TRIES = 4  # ours: a scan that is mostly air still gives boxes, in bounded time
_STEP = 4  # every fourth voxel is enough to tell air from body


def check_size(name: str, size: Size, *, multiple: int = 8) -> None:
    """Raise SettingsError unless `size` is three positive multiples of `multiple`.

    An encoder of four stages halves its input three times, so that its crops have to be multiples of 8.
    """
    whole = len(size) == 3 and all(isinstance(n, int) and n > 0 and n % multiple == 0 for n in size)
    if not whole:
        shown = ",".join(map(str, size))
        raise SettingsError(
            f"{name} is {shown}; it must be three positive multiples of {multiple}, voxels along z,y,x, as 32,64,64"
        )


def draw_crop(scan: Scan, size: Size, rng: np.random.Generator) -> np.ndarray:
    """A box of this size from anywhere in the scan: (Z, Y, X) uint8, a copy; see `draw_corner` and `cut`."""
    return cut(scan.image, draw_corner(scan.image, size, rng), size)


def draw_corner(image: np.ndarray, size: Size, rng: np.random.Generator) -> Size:
    """Lowest z, y, x of a box inside the image, which holds at least a tenth of body unless four draws found none.

    Along an axis on which the image is shorter than the box, the image lies in the middle of the box (the corner is
    negative or 0).
    """
    corner = _anywhere(image, size, rng)
    for _ in range(_TRIES - 1):
        if body_share(image, corner, size) >= BODY_SHARE:
            break
        corner = _anywhere(image, size, rng)
    return corner


def cut(image: np.ndarray, corner: Size, size: Size) -> np.ndarray:
    """Copy of the box at `corner`; voxels outside the image are 0, the lower end of the intensity window."""
    starts = [max(0, c) for c in corner]
    ends = [max(a, min(n, c + s)) for a, n, c, s in zip(starts, image.shape, corner, size, strict=True)]
    inside = image[tuple(slice(a, b) for a, b in zip(starts, ends, strict=True))]
    if inside.shape == size:
        return np.array(inside)
    box = np.zeros(size, image.dtype)
    box[tuple(slice(a - c, b - c) for a, b, c in zip(starts, ends, corner, strict=True))] = inside
    return box


def fitting(size: Size, shape: Sequence[int]) -> float:
    """The factor, at most 1, by which a box of `size` has to shrink to fit into a scan of this shape.

    For tasks whose label could be read from where the padding lies (B3-12): what is cut smaller is then `enlarged`.
    """
    return min(1.0, *(n / s for n, s in zip(shape, size, strict=True)))


def shrunk(size: Size, factor: float) -> Size:
    """Sides times `factor`, at least one voxel."""
    z, y, x = (max(1, int(s * factor + 1e-6)) for s in size)
    return z, y, x


def enlarged(box: np.ndarray, size: Size) -> np.ndarray:
    """A (Z, Y, X) uint8 box brought to a larger `size`, linear between voxels; itself where it has that size."""
    if box.shape == size:
        return box
    factors = [s / n for s, n in zip(size, box.shape, strict=True)]
    larger: np.ndarray = ndimage.zoom(box.astype(np.float32), factors, order=1, mode="nearest", grid_mode=True)
    return larger.round().astype(np.uint8)


def _anywhere(image: np.ndarray, size: Size, rng: np.random.Generator) -> Size:
    z, y, x = (
        int(rng.integers(n - s + 1)) if n > s else -((s - n) // 2) for n, s in zip(image.shape, size, strict=True)
    )
    return z, y, x


def body_share(image: np.ndarray, corner: Size, size: Size) -> float:
    """Share of a box that is body and not air, by every fourth voxel; what lies outside the image does not count."""
    sample = image[tuple(slice(max(0, c), max(0, c + s), _STEP) for c, s in zip(corner, size, strict=True))]
    return float((sample > _AIR).mean()) if sample.size else 0.0
