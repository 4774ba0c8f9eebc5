"""How fast the engine encodes, against the bare encoder in a loop over ready batches."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from napari_medssl.bench.goals import ENCODING_SHARE, Measurement
from napari_medssl.engine import Engine
from napari_medssl.engine.encode import input_size
from napari_medssl.intensity import window_limits
from napari_medssl.models.slices import make_frame, slice_batch
from napari_medssl.progress import Progress, Steps
from napari_medssl.volume import Volume


def encoding_steps(engine: Engine, volume: Volume, *, repeats: int) -> Steps[Measurement]:
    """Slices per second of `engine.features` (framing, windowing, transfer, storing) over those of `encoder(batch)`.

    The bare loop has its batches on the device in the engine's layout, size and precision. Both are measured in turn
    and the fastest of each counts, so that other work on the machine disturbs the ratio least.
    """
    batches = _batches(engine, volume)
    bare, whole = float("inf"), float("inf")
    _bare_seconds(engine, batches[:1])  # warm-up: kernels are chosen and memory is taken on the first call
    for i in range(repeats):
        yield Progress(2 * i, 2 * repeats, "encoding: the bare loop")
        bare = min(bare, _bare_seconds(engine, batches))
        yield Progress(2 * i + 1, 2 * repeats, "encoding: the engine")
        engine.cache.clear()
        start = time.perf_counter()
        engine.features(volume)
        whole = min(whole, time.perf_counter() - start)
    depth = volume.shape[0]
    detail = f"{depth / whole:.1f} against {depth / bare:.1f} slices per second, {engine.encoder_name}"
    return Measurement(
        "encoding throughput, engine / bare encoder loop", bare / whole, "", ENCODING_SHARE, "higher", detail
    )


def _batches(engine: Engine, volume: Volume) -> list[Tensor]:
    """The batches the engine would make, ready on the device."""
    encoder: Any = engine.encoder
    frame = make_frame(volume.shape[1:], volume.spacing_mm[1:], input_size(encoder))
    limits = window_limits(volume)
    size = engine.policy.batch_size
    batches = []
    for start in range(0, volume.shape[0], size):
        slices = range(start, min(start + size, volume.shape[0]))
        batch = slice_batch(volume, slices, frame, encoder.in_slices, limits=limits, device=torch.device("cpu"))
        batches.append(engine.policy.send(batch))
    return batches


def _bare_seconds(engine: Engine, batches: Sequence[Tensor]) -> float:
    wait(engine.device)
    start = time.perf_counter()
    with engine.policy.running():
        for batch in batches:
            engine.encoder(batch)
    wait(engine.device)
    return time.perf_counter() - start


def wait(device: torch.device) -> None:
    """Until the device has done all it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
