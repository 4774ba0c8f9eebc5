"""Which slices of an organ are labelled: how many, where, and which other choices there would have been."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

Organ = npt.NDArray[np.bool_]

_LEAST_AREA = 0.5  # of the largest slice: nobody labels a slice that shows hardly anything of the organ


def even_slices(organ: Organ, count: int) -> list[int]:
    """The middle slices of the `count` equal parts of an organ's slices; organ: bool (Z, Y, X).

    Three are the published few-shot protocol (thesis section 7.4.2.2).
    """
    slices = np.flatnonzero(organ.any(axis=(1, 2)))
    return [int(part[len(part) // 2]) for part in np.array_split(slices, count) if part.size]


def slices_with(organ: Organ, first: int, count: int) -> list[int]:
    """`count` slices evenly through an organ's extent, of which `first` is one, ascending.

    The middles of `count` equal parts of the organ's slices, but `first` for the part it lies in (ours).
    """
    slices = np.flatnonzero(organ.any(axis=(1, 2)))
    parts = [part for part in np.array_split(slices, count) if part.size]
    return [first if first in part else int(part[len(part) // 2]) for part in parts]


def first_slices(organ: Organ, count: int, rng: np.random.Generator) -> list[int]:
    """Up to `count` different slices to label: the largest, then random ones of at least half of its area."""
    areas = organ.sum(axis=(1, 2))
    largest = int(areas.argmax())
    others = [int(z) for z in np.flatnonzero(areas >= _LEAST_AREA * areas[largest]) if z != largest]
    return [largest, *(int(z) for z in rng.permutation(others)[: count - 1])]


def choice_generator(seed: int, scan: str, organ: int) -> np.random.Generator:
    """A generator that depends on nothing but these: other scans and organs measured before do not change a choice."""
    return np.random.default_rng([seed, zlib.crc32(scan.encode()), organ])


def mask_of(organ: Organ, slices: list[int]) -> npt.NDArray[Any]:
    """uint8 (Z, Y, X): 1 where the organ is on these slices."""
    mask = np.zeros(organ.shape, np.uint8)
    mask[slices] = organ[slices]
    return mask
