"""The default method against scikit-image's random walker, side by side on the same scan and labels."""

from __future__ import annotations

import time

from napari_medssl.bench.alternatives import FULL_WALKER, prepare, segment_by
from napari_medssl.bench.goals import WALKER_SHARE, Measurement
from napari_medssl.bench.segmenting import Task
from napari_medssl.engine import Engine
from napari_medssl.progress import Progress, Steps


def walker_steps(engine: Engine, within: Task, *, repeats: int) -> Steps[Measurement]:
    """Seconds of the default method, refinement included, over those of a random walker at full resolution.

    The default has nothing in its caches, so it is the first run that counts, in which all is computed. The walker's
    scan is scaled before its clock runs. It is measured once: it takes the better part of a minute.
    """
    yield Progress(0, 2, "against a random walker: the default method")
    ours = min(_first_seconds(engine, within) for _ in range(repeats))
    yield Progress(1, 2, "against a random walker: the walker at full resolution")
    theirs = _walker_seconds(within)
    detail = f"{ours:.2f} s, nothing cached, against {theirs:.1f} s"
    return Measurement("default method / random walker of scikit-image", ours / theirs, "", WALKER_SHARE, detail=detail)


def _first_seconds(engine: Engine, task: Task) -> float:
    engine.cache.clear()
    engine.tracks.clear()
    start = time.perf_counter()
    engine.segment(task.query, task.supports)
    return time.perf_counter() - start


def _walker_seconds(task: Task) -> float:
    seen, support = prepare(task.query, 1), task.supports[0]
    slices = {z: seen.turned(support.mask[z] > 0) for z in support.slices}
    start = time.perf_counter()
    segment_by(FULL_WALKER, seen, slices)
    return time.perf_counter() - start
