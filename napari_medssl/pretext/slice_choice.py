"""Random slices with something on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from torch import Tensor

from napari_medssl.errors import GeometryError
from napari_medssl.pretext.bars import without_bars
from napari_medssl.pretext.scan import Scan, pick_scan, slice_stack

_BRIGHT = 20  # of 255: above it a pixel counts as body
_LEAST = 0.05  # share of body pixels a slice should have
_TRIES = 8


def draw_slice(
    scans: Sequence[Scan],
    rng: np.random.Generator,
    *,
    size: int,
    channels: int = 1,
    bars: Literal["keep", "stretch", "square"] = "keep",
) -> Tensor:
    """(channels, size, size) uint8: a random slice of a random scan, with its neighbours.

    Nearly empty slices are drawn again, a few times; then the fullest one seen is taken. bars: what becomes of those
    beside slices that are not square, see `without_bars`. Raises GeometryError when the slices of the scan are not
    framed at `size`.
    """
    scan = pick_scan(scans, rng)
    if scan.shape[1:] != (size, size):
        raise GeometryError(
            f"the slices of {scan.name} have {scan.shape[1]} x {scan.shape[2]} pixels; "
            f"this task needs them framed at {size} x {size}"
        )
    slices = slice_stack(scan, choose_slice(scan, rng), channels)
    return slices if bars == "keep" else without_bars(slices, scan, bars)


def choose_slice(scan: Scan, rng: np.random.Generator) -> int:
    """Number of a random slice of `scan` that is not nearly empty, if one is found in a few tries."""
    best, fullest = 0, -1.0
    for _ in range(_TRIES):
        z = int(rng.integers(len(scan.image)))
        content = float((scan.image[z, ::4, ::4] > _BRIGHT).mean())  # every fourth pixel tells enough
        if content >= _LEAST:
            return z
        if content > fullest:
            best, fullest = z, content
    return best
