"""Dense features on the engine's device, in batches that shrink when memory runs out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from napari_medssl.dense.compute import Runner, Work
from napari_medssl.dense.extract import extract_steps
from napari_medssl.dense.grid import FeatureGrid, grid_source
from napari_medssl.dense.plan import VolumePlan, plan_volume
from napari_medssl.dense.settings import ExtractSettings
from napari_medssl.dense.stages import takes_volumes
from napari_medssl.engine.batches import run_batches
from napari_medssl.engine.device import DevicePolicy
from napari_medssl.engine.memory import MIB, available_bytes
from napari_medssl.engine.volume_weights import LoadedEncoder, encoder_on
from napari_medssl.errors import OutOfMemoryError
from napari_medssl.progress import Steps
from napari_medssl.volume import Volume

_GPU_WINDOWS = 2  # per batch to begin with: more is no faster, for one window of 96 x 96 x 96 fills a GPU


def grid_steps(
    volume: Volume,
    loaded: LoadedEncoder,
    settings: ExtractSettings,
    *,
    policy: DevicePolicy,
    original: Volume,
    notes: tuple[str, ...] = (),
    out: str | Path | None = None,
) -> Steps[FeatureGrid]:
    """`extract_steps` with the engine's precision and batches.

    original: the scan before its voxels were made fit for computing, which the grid is to remember. notes: of that.
    """
    facts = loaded.facts()
    if takes_volumes(loaded.encoder):
        _require(plan_volume(volume, loaded.encoder, settings, facts), loaded, policy, in_memory=_in_memory(out))
    return (
        yield from extract_steps(
            volume,
            loaded.encoder,
            settings,
            encoder_facts={**facts, "notes": [*facts["notes"], *notes]},
            source=grid_source(original),
            out=out,
            run=batched(loaded, policy, settings),
        )
    )


def batched(loaded: LoadedEncoder, policy: DevicePolicy, settings: ExtractSettings) -> Runner:
    """Batches that are halved, then moved to the CPU, when memory runs out."""
    size = settings.batch or _batch_size(loaded.encoder, policy)
    placed: dict[str, nn.Module] = {str(policy.device): loaded.encoder}

    def run(work: Work, count: int, label: str) -> Steps[tuple[str, ...]]:
        def step(items: range, on: DevicePolicy) -> None:
            name = str(on.device)
            if name not in placed:
                placed[name] = encoder_on(loaded, on)
            work(items, placed[name], on)

        done: Any = yield from run_batches(step, count, policy=policy, label=label, batch_size=min(size, count))
        return tuple(done.notes)

    return run


def _require(plan: VolumePlan, loaded: LoadedEncoder, policy: DevicePolicy, *, in_memory: bool) -> None:
    """Raise OutOfMemoryError when the work cannot fit what is free, where that can be measured."""
    free = available_bytes()
    window = plan.window_bytes if policy.device.type == "cpu" else 0
    need = loaded.nbytes + plan.rows_bytes + window + (plan.nbytes if in_memory else 0)
    if free is None or need <= free:
        return
    channels, z, y, x = plan.shape
    keep = f"features of {z} x {y} x {x} cells and {channels} channels, {plan.nbytes / MIB:.0f} MiB"
    told = f"{need / MIB:.0f} MiB of memory to make but {free / MIB:.0f} MiB is free"
    ways = "write them to a .zarr (out=), " if in_memory and need - plan.nbytes <= free else ""
    raise OutOfMemoryError(
        f"the {keep}, need {told}; {ways}choose larger "
        "cells (cell_mm), a coarser stage, larger voxels (spacing_mm) or smaller windows (patch), or crop the scan"
    )


def _in_memory(out: str | Path | None) -> bool:
    return out is None or Path(out).suffix.lower() != ".zarr"


def _batch_size(encoder: nn.Module, policy: DevicePolicy) -> int:
    if not takes_volumes(encoder):
        return policy.batch_size
    return 1 if policy.device.type == "cpu" else _GPU_WINDOWS
