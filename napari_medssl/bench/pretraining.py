"""What drawing examples costs a training run: the trainer's step against the bare one."""

from __future__ import annotations

import dataclasses
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from napari_medssl.bench.goals import TRAINING_STEP, Measurement
from napari_medssl.engine.device import choose_device
from napari_medssl.pretext.scan import Scan
from napari_medssl.pretext.task import Example
from napari_medssl.progress import Progress, Steps
from napari_medssl.samples.phantom import phantom
from napari_medssl.train.grid import grid_of
from napari_medssl.train.loader import Examples, collate, to_device
from napari_medssl.train.method import Recipe, find_method
from napari_medssl.train.optimisers import make_optimiser
from napari_medssl.train.precision import Precision
from napari_medssl.train.store import prepare_volume
from napari_medssl.train.trainer import TrainingProgress, build_recipe, train_on

_STEPS, _WARM_UP = 12, 3
_KINDS: tuple[Literal["CT", "MR"], ...] = ("CT", "MR")


def pretraining_steps(names: Sequence[str], *, device: str = "auto", small: bool = False) -> Steps[list[Measurement]]:
    """For each method the ratio of the trainer's median step to a step on one batch that is ready on the device.

    The trainer draws, loads and prepares examples of two phantoms, watches for divergence and logs; the bare step is
    forward, backward and optimiser. small: with the method's settings for small machines, else its own.
    """
    rows = []
    for i, name in enumerate(names):
        yield Progress(i, len(names), f"training {name}")
        rows.append(_measure(name, choose_device(device), small))
    return rows


def _measure(name: str, device: torch.device, small: bool) -> Measurement:
    method = find_method(name)
    chosen = method.small if small else method.settings()
    run = dataclasses.replace(
        chosen.run, steps=_STEPS, monitor_every=0, log_every=5, save_every=10**6, validation_share=0.0, max_minutes=0.0
    )
    settings = dataclasses.replace(chosen, run=run)
    scans = [prepare_volume(phantom(kind)[0], grid_of(settings), name=kind, group=kind) for kind in _KINDS]
    bare = _bare_seconds(build_recipe(method, settings), scans, settings, device)
    with tempfile.TemporaryDirectory() as folder:
        whole = _trainer_seconds(train_on(scans, Path(folder), method, settings, device=device))
    detail = f"{1000 * whole:.0f} against {1000 * bare:.0f} ms per step of {run.batch} examples"
    return Measurement(f"training step of {name}, trainer / bare", whole / bare, "", TRAINING_STEP, "lower", detail)


def _trainer_seconds(steps: Steps[Path]) -> float:
    """Median time between two steps; the state is saved after the last one and does not count."""
    times = [time.perf_counter() for progress in steps if isinstance(progress, TrainingProgress)]
    return statistics.median(b - a for a, b in zip(times[_WARM_UP:], times[_WARM_UP + 1 :], strict=False))


def _bare_seconds(recipe: Recipe, scans: Sequence[Scan], settings: Any, device: torch.device) -> float:
    objective, run = recipe.objective.to(device).train(), settings.run
    optimiser = make_optimiser(objective, run.optim)
    precision = Precision(run.precision, device)
    examples = Examples(recipe.task, scans, seed=run.seed)
    batch = recipe.task.prepare(to_device(collate([examples[n] for n in range(run.batch)]), device))
    times = []
    for _ in range(_STEPS):
        start = time.perf_counter()
        _bare_step(objective, batch, optimiser, precision)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return statistics.median(times[_WARM_UP:])


def _bare_step(objective: Any, batch: Example, optimiser: torch.optim.Optimizer, precision: Precision) -> None:
    optimiser.zero_grad(set_to_none=True)
    objective.begin_step(0.5)
    with precision.running():
        loss = objective(batch)["loss"]
    precision.scaler.scale(loss).backward()
    precision.scaler.step(optimiser)
    precision.scaler.update()
    objective.end_step()
