"""All measurements, one after the other."""

from __future__ import annotations

from collections.abc import Sequence

from napari_medssl.bench.correcting import correction_steps
from napari_medssl.bench.encoding import encoding_steps
from napari_medssl.bench.features import feature_steps
from napari_medssl.bench.goals import BenchSettings, Measurement
from napari_medssl.bench.memory import large_steps, memory_steps
from napari_medssl.bench.pretraining import pretraining_steps
from napari_medssl.bench.rival import walker_steps
from napari_medssl.bench.segmenting import phantom_task, warm_steps
from napari_medssl.engine import Engine
from napari_medssl.engine.volume_weights import DEFAULT3D
from napari_medssl.progress import Progress, Steps


def bench_steps(
    settings: BenchSettings,
    *,
    device: str = "auto",
    weights: str = "default",
    large: bool = False,
    methods: Sequence[str] = (),
    features: bool = False,
) -> Steps[list[Measurement]]:
    """Encoding throughput, first and second segmentations, a correction, the random walker beside, and peak memory.

    large: also a CT of 512 x 512 x 400. methods: only the training steps of these pretraining methods instead.
    features: only dense 3D features instead, by the default weights for them.

    Yields Progress; returns the measurements in order. Takes minutes on two cores, `large` many more.
    """
    if methods:
        return (yield from pretraining_steps(methods, device=device))
    if features:
        chosen = DEFAULT3D if weights == "default" else weights
        return (yield from feature_steps(device=device, weights=chosen, repeats=settings.repeats, large=large))
    yield Progress(0, 0, "making the scans")
    within = phantom_task(settings.slices, settings.organ, across=False)
    across = phantom_task(settings.slices, settings.organ, across=True)
    with Engine(device=device, weights=weights) as engine:
        rows = [(yield from encoding_steps(engine, within.query, repeats=settings.repeats))]
        rows += yield from warm_steps(engine, within, across, repeats=settings.repeats)
        rows.append((yield from correction_steps(engine, within, repeats=settings.repeats)))
        rows.append((yield from walker_steps(engine, within, repeats=settings.repeats)))
    organ, slices = settings.organ, settings.slices
    rows += yield from memory_steps(n_slices=slices, organ=organ, device=device, weights=weights)
    if large:
        rows.append((yield from large_steps(organ=organ, device=device, weights=weights)))
    return rows
