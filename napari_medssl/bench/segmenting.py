"""How long a segmentation takes the first time and again, with another mask or setting on the same scan."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from napari_medssl.bench.goals import WARM_REFINED_SECONDS, WARM_SECONDS, WARM_SHARE, Measurement
from napari_medssl.engine import Engine
from napari_medssl.oneshot import SegmentSettings, Support
from napari_medssl.progress import Progress, Steps
from napari_medssl.samples.phantom import phantom
from napari_medssl.volume import Volume

SIDE = 256


@dataclass(frozen=True)
class Task:
    """A scan and what is labelled for it."""

    query: Volume
    supports: Sequence[Support]


def phantom_task(n_slices: int, organ: str, *, across: bool, side: int = SIDE) -> Task:
    """An organ of a CT phantom, labelled on its largest slice or, `across`, on three slices of another patient."""
    shape = (n_slices, side, side)
    query, truth = phantom("CT", shape=shape)
    if across:
        other, truth_there = phantom("CT", shape=shape, seed=1)
        return Task(query, [labelled_slices(other, truth_there, organ, 3)])
    return Task(query, [labelled_slices(query, truth, organ, 1)])


def warm_steps(engine: Engine, within: Task, across: Task, *, repeats: int) -> Steps[list[Measurement]]:
    """First and second runs of the published prototype path, of the default method on the labelled scan, and of the
    default method between scans.

    The first run has an empty cache. The second has another threshold, which must not encode again.
    """
    bare = SegmentSettings(refine="")
    cases = (
        ("prototypes", within, dataclasses.replace(bare, method="prototypes")),
        ("default method within a scan", within, bare),
        ("default method between scans", across, bare),
    )
    rows = []
    for i, (name, task, settings) in enumerate(cases):
        yield Progress(i, len(cases) + 1, f"segmenting: {name}")
        missed = engine.cache.statistics.misses
        first, again = _first_and_again(engine, task, settings, repeats)
        # A method that needs no features has nothing to save the second time, and so no goal there.
        encoded = engine.cache.statistics.misses > missed
        goal = WARM_SHARE if encoded else None
        detail = f"{again:.2f} s after {first:.2f} s, " + ("no refinement" if encoded else "nothing to encode")
        rows.append(Measurement(f"second / first run, {name}", again / first, "", goal, detail=detail))
        rows.append(Measurement(f"second run, {name}", again, "s", WARM_SECONDS))
    yield Progress(len(cases), len(cases) + 1, "segmenting: with refinement")
    _, refined = _first_and_again(engine, within, SegmentSettings(), repeats)
    rows.append(Measurement("second run, default method within a scan, refined", refined, "s", WARM_REFINED_SECONDS))
    return rows


def _first_and_again(engine: Engine, task: Task, settings: SegmentSettings, repeats: int) -> tuple[float, float]:
    engine.cache.clear()
    first = _seconds(engine, task, settings)
    moved = dataclasses.replace(settings, threshold=0.45)
    return first, min(_seconds(engine, task, moved) for _ in range(repeats))


def _seconds(engine: Engine, task: Task, settings: SegmentSettings) -> float:
    start = time.perf_counter()
    engine.segment(task.query, task.supports, settings=settings)
    return time.perf_counter() - start


def labelled_slices(scan: Volume, truth: Volume, organ: str, n: int) -> Support:
    label = next(o for o in truth.labels if o.name == organ)
    where = truth.data == label.value
    slices = np.flatnonzero(where.any(axis=(1, 2)))
    if n == 1:
        picks = [int(where.sum(axis=(1, 2)).argmax())]
    else:
        picks = [int(part[len(part) // 2]) for part in np.array_split(slices, n) if part.size]
    mask = np.zeros(truth.shape, np.uint8)
    mask[picks] = where[picks]
    return Support(scan, mask, (dataclasses.replace(label, value=1),))
