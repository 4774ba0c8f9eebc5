"""Slabs of slices with a margin, so that a large volume is worked on in steps and little memory."""

from __future__ import annotations

from collections.abc import Iterator

_VOXELS = 3_000_000  # of a slab with its margins: about a second of a distance transform


def slabs(shape: tuple[int, ...], margin: int) -> Iterator[tuple[slice, slice]]:
    """(slices to work on, the same with `margin` slices on both sides as far as they go), in order, covering all.

    shape: (Z, Y, X). The inner slab is never thinner than a margin, which bounds the work done twice.
    """
    depth, rows, columns = shape
    thick = max(1, margin, _VOXELS // max(1, rows * columns) - 2 * margin)
    for low in range(0, depth, thick):
        high = min(depth, low + thick)
        yield slice(low, high), slice(max(0, low - margin), min(depth, high + margin))
