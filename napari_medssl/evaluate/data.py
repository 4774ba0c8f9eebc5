"""Scans as the judged encoders take them, loaded once for all that take them alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from napari_medssl.evaluate.candidate import Candidate
from napari_medssl.pretext.scan import Scan
from napari_medssl.progress import Steps
from napari_medssl.train.dataset import Case
from napari_medssl.train.grid import Grid
from napari_medssl.train.store import load_scans


def load_for(
    candidate: Candidate, cases: Sequence[Case], *, spacing_mm: float = 3.0, cache: Path | None = None
) -> Steps[list[Scan]]:
    """The scans as square slices of `candidate.size` pixels.

    Slice encoders get slices framed into the square. Volume encoders get voxels of `spacing_mm`, of which the middle
    square is kept or surrounded with 0: their slabs must not be squeezed differently along z and in the plane.
    """
    if candidate.dims == 2:
        return (yield from load_scans(cases, Grid(size=candidate.size), cache=cache))
    scans = yield from load_scans(cases, Grid(spacing_mm=spacing_mm), cache=cache)
    return [square(scan, candidate.size) for scan in scans]


def square(scan: Scan, side: int) -> Scan:
    """`scan` with slices of side x side voxels: the middle kept, or 0 around it."""
    labels = None if scan.labels is None else _square(scan.labels, side)
    return replace(scan, image=_square(scan.image, side), labels=labels)


def spread(count: int, depth: int) -> npt.NDArray[np.intp]:
    """At most `count` different slice numbers spread evenly over `depth` slices; the middles of equal parts.

    >>> spread(3, 9).tolist(), spread(5, 2).tolist()
    ([1, 4, 7], [0, 1])
    """
    n = min(count, depth)
    return ((np.arange(n) + 0.5) * depth / n).astype(np.intp)


def _square(volume: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.uint8]:
    out = np.zeros((len(volume), side, side), np.uint8)
    (y, oy), (x, ox) = (_overlap(n, side) for n in volume.shape[1:])
    out[:, oy, ox] = volume[:, y, x]
    return out


def _overlap(extent: int, side: int) -> tuple[slice, slice]:
    """Where the middle lies in the volume and in the square."""
    kept = min(extent, side)
    a, b = (extent - kept) // 2, (side - kept) // 2
    return slice(a, a + kept), slice(b, b + kept)
