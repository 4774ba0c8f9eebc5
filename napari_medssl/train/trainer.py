"""The one trainer: any method on any folder of scans, in one process or many, to be stopped and resumed at will.

scans ─store─▶ Scan ─task.draw (by number)─▶ example ─collate─▶ batch ─task.prepare─▶ objective ─▶ loss ─▶ optimiser
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from napari_medssl.errors import SettingsError
from napari_medssl.io.folders import make_folder
from napari_medssl.models.bundle import module_bundle, save_bundle
from napari_medssl.pretext.scan import Scan
from napari_medssl.pretext.task import Example
from napari_medssl.progress import Progress, Steps
from napari_medssl.settings import check, to_dict
from napari_medssl.train.checkpoint import RunState, resume_run, save_run
from napari_medssl.train.curves import Curves
from napari_medssl.train.dataset import Case
from napari_medssl.train.distributed import barrier, is_main, main_process_first, mean_over_ranks, world
from napari_medssl.train.divergence import Watch
from napari_medssl.train.events import open_events
from napari_medssl.train.grid import grid_of
from napari_medssl.train.loader import Examples, batch_numbers, make_loader, split_batch, to_device
from napari_medssl.train.method import Method, Recipe, find_method
from napari_medssl.train.monitor import Monitor
from napari_medssl.train.optimisers import make_optimiser
from napari_medssl.train.precision import Precision
from napari_medssl.train.run_settings import RunSettings
from napari_medssl.train.schedules import rate
from napari_medssl.train.split import split_subjects
from napari_medssl.train.store import load_scans, scans_digest

_MAY_CHANGE = (
    "run.steps", "run.max_minutes", "run.workers", "run.save_every", "run.log_every", "run.monitor_every",
    "run.tensorboard", "run.bad_files",
)  # fmt: skip


@dataclass(frozen=True)
class TrainingProgress(Progress):
    """Progress of a run with its newest numbers: step to named values, as in the log."""

    values: dict[str, float] = field(default_factory=dict)


def pretrain(
    cases: Sequence[Case],
    out: Path,
    method: str,
    settings: Any = None,
    *,
    device: torch.device | str = "cpu",
    cache: Path | None = None,
) -> Steps[Path]:
    """Train with `method` on `cases`; returns the weights file `out/<role>.safetensors`.

    settings: an instance of the method's settings, None for its defaults. cache: folder of prepared scans, which runs
    may share; `out/scans` when None. out: folder for weights, `log.csv` and the state. A run found there goes on with
    the same settings and data (length and bookkeeping may change); on the CPU an interrupted and resumed run gives the
    same weights as an uninterrupted one, unless it is limited by time. Closing the generator saves the state first.

    Started by torchrun (see `distributed.init_from_environment`), the processes share each batch.

    Yields Progress while reading and TrainingProgress while training. Raises SettingsError, FormatError (no usable
    scan), WeightsError (damaged state) and DivergedError (no finite step for a while, or a loss that explodes).
    """
    chosen = find_method(method)
    settings = chosen.settings() if settings is None else settings
    if not isinstance(settings, chosen.settings):
        raise SettingsError(f"{method} takes {chosen.settings.__name__}, not {type(settings).__name__}")
    check(settings)
    if not cases:
        raise SettingsError("no scan is left to learn from; give other folders, or leave out fewer scans")
    cases = [c for c in cases if c.labels is not None] if chosen.labels else cases
    if not cases:
        raise SettingsError(f"{method} learns from labels and no scan has a label map; see `medssl pretrain --list`")
    make_folder(out)
    with main_process_first():  # the others find the prepared scans in the cache
        scans = yield from load_scans(
            cases, grid_of(settings), cache=cache or out / "scans", bad_files=settings.run.bad_files
        )
    return (yield from train_on(scans, out, chosen, settings, device=device))


def train_on(
    scans: Sequence[Scan],
    out: Path,
    method: Method,
    settings: Any,
    *,
    device: torch.device | str = "cpu",
) -> Steps[Path]:
    """As `pretrain`, on scans that are already prepared on the method's grid."""
    make_folder(out)
    run = _Run(scans, out, method, settings, torch.device(device))
    yield from run.steps()
    path = out / f"{run.recipe.role}.safetensors"
    if is_main():
        bundle = module_bundle(run.recipe.role, run.recipe.encoder_name, run.recipe.objective.encoder, run.card())
        save_bundle(path, bundle)
    barrier()
    return path


def build_recipe(method: Method, settings: Any) -> Recipe:
    """The method made concrete; its first weights depend on the seed alone, not on what ran before."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.run.seed)
        return method.build(settings)


class _Run:
    """A training run that can be interrupted between any two steps."""

    def __init__(self, scans: Sequence[Scan], out: Path, method: Method, settings: Any, device: torch.device) -> None:
        self.method, self.settings, self.device, self.out = method, settings, device, out
        self.run: RunSettings = settings.run
        self.rank, self.world = world()
        if self.run.batch % (self.world * self.run.accumulate):
            raise SettingsError(
                f"run.batch {self.run.batch} cannot be shared evenly by {self.world} processes "
                f"in {self.run.accumulate} parts; choose a multiple of {self.world * self.run.accumulate}"
            )
        self.precision = Precision(self.run.precision, device)
        self.recipe = build_recipe(method, settings)
        self.recipe.objective.to(device)
        self.scans, self.aside = split_subjects(scans, self.run.validation_share, self.run.seed)
        self.digest = scans_digest(scans)
        self.network = _distributed(self.recipe.objective, device, self.world)
        self.optimiser = make_optimiser(self.recipe.objective, self.run.optim)
        self.monitor = Monitor(self.recipe, self.scans, self.aside, settings, device)
        self.watch = Watch()
        self.step, self.earlier, self.began = 0, 0.0, time.monotonic()
        self.epoch_losses: list[float] = []
        self.sums: dict[str, float] = {}
        self.counted, self.epoch_sum, self.epoch_steps = 0, 0.0, 0
        self.last: dict[str, float] = {}

    def steps(self) -> Steps[None]:
        """Train to the end of the run."""
        self._resume()
        log = Curves(self.out / "log.csv", step=self.step) if is_main() else None
        events = open_events(self.out / "events", step=self.step) if self.run.tensorboard and is_main() else None
        self.recipe.objective.train()
        batches = self._batches()
        try:
            share = self._share()
            while self.step < self.run.steps and share < 1:
                self._advance(next(batches), share)
                share = self._share()  # with a time limit the processes agree on it: once a step
                values = self._report(ending=self.step == self.run.steps or share >= 1)
                if values and log is not None:
                    log.add(self.step, values)
                if values and events is not None:
                    events.add(self.step, values)
                yield TrainingProgress(self.step, self.run.steps, f"training {self.method.name}", self._note(), values)
        except GeneratorExit:  # the caller stops asking, between two steps: nothing of the run is lost
            self._save()
            raise
        finally:
            if events is not None:
                events.close()
        self._save()
        self.recipe.objective.eval()

    def card(self) -> dict[str, Any]:
        """What a user of the weights must know: method, source, settings, data and the last numbers."""
        facts = {k: round(v, 5) for k, v in self.last.items()}
        return {
            "recipe": self.method.name,
            "source": self.method.source,
            **self.recipe.facts,
            "settings": _without_folders(to_dict(self.settings)),
            "normalisation": "intensity window of the scan (0.5th to 99.5th percentile, or the CT window) to [0, 1]",
            "run": {"steps": self.step, "seconds": round(self._seconds(), 1), "processes": self.world, **facts},
            "data": _names_by_data_set([*self.scans, *self.aside]),
            "data_hash": self.digest,
            "kept_aside": sorted({s.name for s in self.aside}),
        }

    def _batches(self) -> Iterator[Example]:
        numbers = batch_numbers(self.step, self.run.steps, self.run.batch, rank=self.rank, world=self.world)
        examples = Examples(self.recipe.task, self.scans, seed=self.run.seed)
        on_gpu = self.device.type == "cuda"
        workers = self.run.workers if self.run.workers >= 0 else (8 if on_gpu else 0)
        return make_loader(examples, numbers, workers=workers, pinned=on_gpu)

    def _advance(self, batch: Example, share: float) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = rate(self.run.optim, share=share, epoch=self._epoch(), losses=self.epoch_losses)
        self.recipe.objective.begin_step(share)
        values, taken = self._train_step(batch)
        self.recipe.objective.end_step()
        self.step += 1
        self._count(values, taken)
        if self.step % self.run.save_every == 0:
            self._save()

    def _train_step(self, batch: Example) -> tuple[dict[str, float], bool]:
        """One optimiser step; the mean scalars over its parts and processes, and whether it was taken."""
        self.optimiser.zero_grad(set_to_none=True)
        parts = split_batch(to_device(batch, self.device), self.run.accumulate)
        sums: dict[str, Tensor] = {}
        with _seeded(self.run.seed, self.step, self.rank, self.device):
            for i, part in enumerate(parts):
                prepared = self.recipe.task.prepare(part)
                # The gradients of all parts but the last wait for it before they are averaged over the processes.
                with self._joined(i == len(parts) - 1):
                    with self.precision.running():
                        found = self.network(prepared)
                    # Outside autocast, which would take the matrix products of a loss's gradient in half precision.
                    self.precision.scaler.scale(found["loss"] / len(parts)).backward()
                for name, value in found.items():
                    sums[name] = sums.get(name, torch.zeros((), device=self.device)) + value.detach().float()
        names = sorted(sums)
        means = mean_over_ranks(torch.stack([sums[n] for n in names]) / len(parts)).tolist()
        values = dict(zip(names, means, strict=True))
        return values, self._descend(values["loss"])

    def _descend(self, loss: float) -> bool:
        """Take the step unless loss or gradient is not finite; the same decision in every process."""
        scaler, optim = self.precision.scaler, self.run.optim
        scaler.unscale_(self.optimiser)
        parameters = [p for group in self.optimiser.param_groups for p in group["params"] if p.grad is not None]
        norm = float(nn.utils.clip_grad_norm_(parameters, optim.clip_norm or math.inf))
        finite = math.isfinite(loss) and math.isfinite(norm)
        if finite:
            scaler.step(self.optimiser)
        scaler.update()
        self.optimiser.zero_grad(set_to_none=True)
        return finite

    def _joined(self, last: bool) -> AbstractContextManager[None]:
        if last or not isinstance(self.network, DistributedDataParallel):
            return nullcontext()
        return self.network.no_sync()

    def _count(self, values: dict[str, float], taken: bool) -> None:
        self.watch.seen(self.step, values["loss"] if taken else math.nan, self.out)
        if taken:
            for name, value in values.items():
                self.sums[name] = self.sums.get(name, 0.0) + value
            self.counted += 1
            self.epoch_sum, self.epoch_steps = self.epoch_sum + values["loss"], self.epoch_steps + 1
        while self._epoch() > len(self.epoch_losses):
            # No step, for it was skipped or is longer than an epoch: not a loss of 0, which nothing would fall below.
            self.epoch_losses.append(self.epoch_sum / self.epoch_steps if self.epoch_steps else math.nan)
            self.epoch_sum, self.epoch_steps = 0.0, 0

    def _report(self, *, ending: bool) -> dict[str, float]:
        """The values of a log row, when one is due."""
        values: dict[str, float] = {}
        if (self.step % self.run.log_every == 0 or ending) and self.counted:
            values = {name: total / self.counted for name, total in self.sums.items()}
            values["learning_rate"] = self.optimiser.param_groups[0]["lr"]
            values["seconds"] = self._seconds()
            if self.watch.skipped:
                values["skipped"] = self.watch.skipped
            self.sums, self.counted = {}, 0
        every = self.run.monitor_every
        if every and (self.step % every == 0 or ending):
            values |= self.monitor.measure()
            self.recipe.objective.train()
        self.last |= values
        return values

    def _note(self) -> str:
        return ", ".join(f"{name} {self.last[name]:.3g}" for name in ("loss", "accuracy", "knn") if name in self.last)

    def _epoch(self) -> int:
        return self.step * self.run.batch // self.run.epoch

    def _seconds(self) -> float:
        return self.earlier + time.monotonic() - self.began

    def _share(self) -> float:
        by_steps = self.step / self.run.steps
        limit = self.run.max_minutes * 60
        if not limit:
            return by_steps
        share = max(by_steps, self._seconds() / limit)
        # Clocks of several processes differ; they must agree on when to stop.
        return share if self.world == 1 else float(mean_over_ranks(torch.tensor(share, device=self.device)))

    def _identity(self) -> dict[str, Any]:
        """What must be the same for a run to go on."""
        return _flat(to_dict(self.settings)) | {"method": self.method.name, "data": self.digest}

    def _save(self) -> None:
        if not is_main() or not self.watch.healthy:
            return
        facts = {
            "sums": self.sums, "counted": self.counted, "epoch_losses": self.epoch_losses,
            "epoch_sum": self.epoch_sum, "epoch_steps": self.epoch_steps, "last": self.last,
            "watch": self.watch.state(), "scaler": self.precision.scaler.state_dict(),
        }  # fmt: skip
        state = RunState(self.step, self._seconds(), self._identity(), facts)
        save_run(self.out / "state.safetensors", state, model=self.recipe.objective, optimiser=self.optimiser)

    def _resume(self) -> None:
        path = self.out / "state.safetensors"
        state = resume_run(
            path, self._identity(), model=self.recipe.objective, optimiser=self.optimiser, may_change=_MAY_CHANGE
        )
        if state is None:
            return
        facts = state.facts
        self.step, self.earlier = state.step, state.seconds
        self.sums, self.counted, self.last = facts["sums"], facts["counted"], facts["last"]
        self.epoch_losses, self.epoch_sum = facts["epoch_losses"], facts["epoch_sum"]
        self.epoch_steps = facts["epoch_steps"]
        self.watch.restore(facts["watch"])
        self.precision.scaler.load_state_dict(facts["scaler"])


def _without_folders(settings: Any) -> Any:
    """The settings with files named without their folders: a card travels, and should not tell where things lay."""
    if isinstance(settings, dict):
        return {name: _without_folders(value) for name, value in settings.items()}
    if isinstance(settings, str) and settings:
        try:
            return Path(settings).name if Path(settings).is_file() else settings
        except (OSError, ValueError):  # too long for a path: JSON, say
            return settings
    return settings


def _names_by_data_set(scans: Sequence[Scan]) -> dict[str, list[str]]:
    """Of what was really read, for the model card."""
    names: dict[str, list[str]] = {}
    for scan in scans:
        names.setdefault(scan.group, []).append(scan.name)
    return {group: sorted(names[group]) for group in sorted(names)}


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat


def _distributed(objective: nn.Module, device: torch.device, size: int) -> nn.Module:
    if size == 1:
        return objective
    if device.type == "cuda":  # there is no synchronised batch normalisation on CPUs
        objective = nn.SyncBatchNorm.convert_sync_batchnorm(objective)  # type: ignore[no-untyped-call]
    return DistributedDataParallel(objective, device_ids=[device] if device.type == "cuda" else None)


@contextmanager
def _seeded(seed: int, step: int, rank: int, device: torch.device) -> Iterator[None]:
    """Torch's own draws (dropout) of a step depend on its number alone; the caller's generators are left alone."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed((seed * 1_000_003 + step) * 4099 + rank)
        yield
