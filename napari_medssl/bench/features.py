"""How fast dense 3D features are made, against the bare encoder in a loop, and how much memory that takes."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_medssl.bench.encoding import wait
from napari_medssl.bench.goals import ENCODING_SHARE, LARGE_BYTES, Measurement
from napari_medssl.bench.memory import run_steps
from napari_medssl.dense.plan import VolumePlan, plan_volume
from napari_medssl.dense.prepared_scan import PreparedScan
from napari_medssl.dense.settings import ExtractSettings
from napari_medssl.engine import Engine
from napari_medssl.engine.volume_weights import LoadedEncoder, load_encoder
from napari_medssl.progress import Progress, Steps
from napari_medssl.samples.phantom import phantom
from napari_medssl.volume import Volume

SHAPES = ((40, 256, 256), (400, 512, 512))
_COARSE = 4  # voxels along each side of those the phantom is drawn in
SPACINGS = ((5.0, 1.5, 1.5), (1.0, 0.75, 0.75))  # mm of an MR with thick slices, and of a thin-sliced CT


def feature_steps(
    *, device: str, weights: str, repeats: int, large: bool, settings: ExtractSettings | None = None
) -> Steps[list[Measurement]]:
    """Voxels per second of `Engine.grid` over those of the encoder on ready windows; time and peak memory of scans.

    Both loops see the same windows in the same batches. large: also a CT of 512 x 512 x 400, streamed to a Zarr.
    """
    settings = settings or ExtractSettings()
    rows = [(yield from _throughput(device, weights, repeats, settings))]
    for shape, spacing in list(zip(SHAPES, SPACINGS, strict=True))[: 2 if large else 1]:
        rows.append((yield from _memory(shape, spacing, device, weights, settings)))
    return rows


def scan_of(shape: Sequence[int], spacing: Sequence[float]) -> Volume:
    """A phantom of this size with voxels of these millimetres; drawn coarsely, for its detail costs nothing here."""
    z, y, x = (-(-n // _COARSE) for n in shape)
    z_mm, y_mm, x_mm = (_COARSE * mm for mm in spacing)
    coarse, _ = phantom("CT", shape=(z, y, x), spacing_mm=(z_mm, y_mm, x_mm))
    data = coarse.data
    for axis in range(3):
        data = data.repeat(_COARSE, axis)
    onto = np.diag([1 / _COARSE] * 3 + [1.0])
    onto[:3, 3] = 0.5 / _COARSE - 0.5  # the same outer corner
    return Volume(np.ascontiguousarray(data[: shape[0], : shape[1], : shape[2]]), coarse.affine @ onto, "CT")


def _throughput(device: str, weights: str, repeats: int, settings: ExtractSettings) -> Steps[Measurement]:
    yield Progress(0, 0, "making the scan")
    scan = scan_of(SHAPES[0], SPACINGS[0])
    with Engine(device=device, weights="none") as engine:
        loaded = load_encoder(weights, engine.policy)
        plan = plan_volume(scan, loaded.encoder, settings, loaded.facts())
        windows = _windows(plan, engine, loaded)
        _bare(engine, loaded, windows[:1])  # warm-up
        bare = whole = float("inf")
        for i in range(repeats):
            yield Progress(2 * i, 2 * repeats, "features: the bare loop")
            bare = min(bare, _bare(engine, loaded, windows))
            yield Progress(2 * i + 1, 2 * repeats, "features: the engine")
            engine.grids.clear()
            start = time.perf_counter()
            grid = engine.grid(scan, weights=weights, settings=settings)
            whole = min(whole, time.perf_counter() - start)
    voxels = scan.data.size / 1e6
    detail = (
        f"{voxels / whole:.2f} against {voxels / bare:.2f} million voxels per second, {loaded.name}, "
        f"{len(windows)} windows, {grid.channels} channels x {' x '.join(map(str, grid.shape))} cells"
    )
    return Measurement("3D features, engine / bare encoder loop", bare / whole, "", ENCODING_SHARE, "higher", detail)


def _windows(plan: VolumePlan, engine: Engine, loaded: LoadedEncoder) -> list[Tensor]:
    """Every window, ready on the device."""
    prepared = PreparedScan(plan.volume, plan.spacing_mm, plan.settings.intensity)
    found = []
    depth, height, width = plan.windows.size
    for z in plan.windows.starts[0]:
        slab = prepared.slab(z, (depth, *plan.windows.scan[1:]))
        for y in plan.windows.starts[1]:
            for x in plan.windows.starts[2]:
                window = slab[:, y : y + height, x : x + width]
                found.append(window[None, None].contiguous().to(engine.device))
    return found


def _bare(engine: Engine, loaded: LoadedEncoder, windows: Sequence[Tensor]) -> float:
    encoder: Any = loaded.encoder
    wait(engine.device)
    start = time.perf_counter()
    with engine.policy.running(), torch.inference_mode():
        for window in windows:
            encoder.stages(window)
    wait(engine.device)
    return time.perf_counter() - start


def _memory(
    shape: Sequence[int], spacing: Sequence[float], device: str, weights: str, settings: ExtractSettings
) -> Steps[Measurement]:
    """Whole peak of a process that reads a scan and writes its features, and its seconds."""
    from napari_medssl.settings import to_dict

    task = {
        "shape": shape, "spacing": spacing, "device": device, "weights": weights, "settings": to_dict(settings),
    }  # fmt: skip
    name = " x ".join(map(str, (shape[1], shape[2], shape[0])))
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "napari_medssl.bench.features_child", folder]
        for part in ("make", "measure"):  # the scan is made in another process, so that its memory does not count
            what = "making the scan" if part == "make" else "extracting its features"
            yield from run_steps([*command, part, json.dumps(task)], f"{name}: {what}")
        facts: dict[str, Any] = json.loads((Path(folder) / "facts.json").read_text())
    detail = (
        f"{facts['seconds']:.0f} s, {facts['processor_seconds']:.0f} s of processor time; grid {facts['grid']} of "
        f"{facts['bytes'] / 2**20:.0f} MiB, {facts['windows']}"
    )
    return Measurement(
        f"peak memory of 3D features, {name} voxels", facts["peak"] / 2**30, "GiB", LARGE_BYTES / 2**30, detail=detail
    )
