"""Which organs and slices an edit works on, and what it must not touch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Scope:
    """What an edit may change.

    organs: labels to work on; none: all of the map.
    slices: half-open range of slices that may change; the operation works within it as if the scan had no others
        (filling between slices is the exception: it uses the others and makes these anew).
    overwrite: whether organs that are not worked on may lose voxels. Organs worked on together never take from each
        other, but what one gives up another may get.
    painted: (Z, Y, X) labels the user painted. On a slice where an organ is painted, that organ is known: it neither
        gains nor loses voxels there, for whatever other organ's sake. change_painted: it may all the same.
    """

    organs: tuple[int, ...] = ()
    slices: tuple[int, int] | None = None
    overwrite: bool = False
    painted: np.ndarray | None = None
    change_painted: bool = False


def painted_slices(painted: np.ndarray | None) -> dict[int, tuple[int, ...]]:
    """Label to the slices of (Z, Y, X) `painted` that have it."""
    found: dict[int, list[int]] = {}
    if painted is not None:
        for z, plane in enumerate(painted):
            if plane.any():  # most slices are empty, which is told faster than what they hold
                for value in np.unique(plane[plane != 0]):
                    found.setdefault(int(value), []).append(z)
    return {value: tuple(slices) for value, slices in found.items()}
