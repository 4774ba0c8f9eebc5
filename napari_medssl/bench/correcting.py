"""How long a correction takes: from the end of a stroke to the result that heeds it."""

from __future__ import annotations

import time

import numpy as np
from scipy import ndimage

from napari_medssl.bench.goals import CORRECTION_SECONDS, Measurement
from napari_medssl.bench.segmenting import Task
from napari_medssl.engine import Engine
from napari_medssl.errors import SupportError
from napari_medssl.oneshot.scribbles import correct
from napari_medssl.oneshot.stroke import Stroke
from napari_medssl.progress import Progress, Steps

_PEN_PX = 6


def correction_steps(engine: Engine, within: Task, *, repeats: int) -> Steps[Measurement]:
    """Seconds of one stroke over the edge of the organ, halfway between the labelled slice and the organ's end."""
    yield Progress(0, 2, "correcting: the result")
    result = engine.segment(within.query, within.supports)
    stroke = edge_stroke(result.labels.data == 1, within.supports[0].slices[0])
    yield Progress(1, 2, "correcting: a stroke")
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        correct(within.query, result, [stroke], supports=within.supports)
        seconds.append(time.perf_counter() - start)
    detail = f"a stroke of {len(stroke)} voxels"
    return Measurement("a correction", min(seconds), "s", CORRECTION_SECONDS, detail=detail)


def edge_stroke(organ: np.ndarray, labelled: int) -> Stroke:
    """An eraser's round dab over an organ's edge; organ: bool (Z, Y, X), labelled: the slice it was found from.

    Raises SupportError when the organ is on no other slice.
    """
    slices = np.flatnonzero(organ.any(axis=(1, 2)))
    others = slices[slices != labelled]
    if not others.size:
        raise SupportError("nothing was found beyond the labelled slice, so there is nothing to correct; add slices")
    ends = sorted((int(slices[0]), int(slices[-1])), key=lambda z: abs(z - labelled))
    z = int(others[np.abs(others - (labelled + ends[-1]) / 2).argmin()])
    edge = np.argwhere(organ[z] & ~ndimage.binary_erosion(organ[z]))
    y, x = edge[len(edge) // 2]
    rows, columns = np.ogrid[: organ.shape[1], : organ.shape[2]]
    dab = (rows - y) ** 2 + (columns - x) ** 2 <= _PEN_PX**2
    at = np.argwhere(dab)
    return Stroke(np.column_stack([np.full(len(at), z), at]), np.zeros(len(at), int))
