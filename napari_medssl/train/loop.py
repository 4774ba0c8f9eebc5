"""The training loop: draw a loss, step, log, save, resume."""

from __future__ import annotations

import csv
import math
import pickle
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from napari_medssl.errors import MedSSLError, WeightsError
from napari_medssl.progress import Progress, Steps

_REPORT_EVERY = 50
_SAVE_EVERY = 250
_LOG_HEADER = ("step", "loss", "learning_rate", "seconds")


@dataclass(frozen=True)
class LoopSettings:
    """What every training run needs.

    iterations: optimiser steps. max_minutes: the run also ends after this wall time, 0 for no limit; the learning
        rate follows whichever of the two is nearer its end, so a run cut by time still cools down.
    learning_rate: peak of a one-cycle cosine: 5 % warm-up, then down to a hundredth.
    """

    iterations: int
    learning_rate: float
    weight_decay: float
    max_minutes: float = 0.0
    clip_norm: float = 1.0


class DivergedError(MedSSLError):
    """The loss became NaN or infinite; the last saved state is from before that."""


def train_loop(
    model: nn.Module,
    draw_loss: Callable[[], Tensor],
    out: Path,
    settings: LoopSettings,
    *,
    rng: np.random.Generator,
    noise: torch.Generator,
) -> Steps[dict[str, Any]]:
    """Train `model` in place; yields Progress and returns facts of the run.

    draw_loss: draws a batch (from `rng` and `noise` alone) and returns its scalar loss.
    out: folder for `log.csv` and `state.pt`; an existing state is resumed from, with its optimiser and random
        generators, so that a run interrupted at a saved step and resumed equals an uninterrupted one on the CPU.

    Raises DivergedError when the loss or its gradient is not finite, WeightsError when the state found in `out` is
    damaged or another model's.
    """
    out.mkdir(parents=True, exist_ok=True)
    optimiser = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    clock = _Clock(settings)
    first = _resume(out / "state.pt", model, optimiser, rng, noise, clock)
    recent: list[float] = []
    log = _Log(out / "log.csv", first)
    step = first
    model.train()
    while step < settings.iterations and clock.share(step) < 1:
        rate = _rate(settings.learning_rate, clock.share(step))
        for group in optimiser.param_groups:
            group["lr"] = rate
        loss = draw_loss()
        _check_finite("loss", loss.item(), step, out)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm)
        # Before the step: it would carry the bad gradient into the weights, and from there into the saved state.
        _check_finite("gradient", norm.item(), step, out)
        optimiser.step()
        recent.append(loss.item())
        step += 1
        if step % _SAVE_EVERY == 0:
            _save(out / "state.pt", step, model, optimiser, rng, noise, clock)
        if step % _REPORT_EVERY == 0 or step == settings.iterations:
            mean = float(np.mean(recent))
            log.add(step, mean, rate, clock.seconds())
            recent.clear()
            yield Progress(step, settings.iterations, f"training, loss {mean:.4f}")
    if recent:  # stopped by time, between two reports
        log.add(step, float(np.mean(recent)), rate, clock.seconds())
    _save(out / "state.pt", step, model, optimiser, rng, noise, clock)
    model.eval()
    return {"iterations": step, "minutes": round(clock.seconds() / 60, 1), "loss": log.last}


def _check_finite(what: str, value: float, step: int, out: Path) -> None:
    if not math.isfinite(value):
        raise DivergedError(
            f"the {what} became {value} at step {step}; lower the learning rate and start again, "
            f"from the last state saved in {out} if there is one"
        )


def _rate(peak: float, share: float) -> float:
    if share < 0.05:
        return peak * (0.05 + 0.95 * share / 0.05)
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (share - 0.05) / 0.95)))


class _Clock:
    """Share of the run that is over, by steps or by time; time of earlier, resumed parts counts."""

    def __init__(self, settings: LoopSettings) -> None:
        self._settings, self._earlier, self._start = settings, 0.0, time.monotonic()

    def seconds(self) -> float:
        return self._earlier + time.monotonic() - self._start

    def restore(self, seconds: float) -> None:
        self._earlier = seconds

    def share(self, step: int) -> float:
        by_steps = step / self._settings.iterations
        limit = self._settings.max_minutes * 60
        return max(by_steps, self.seconds() / limit) if limit else by_steps


class _Log:
    """The table of losses; `last` is the newest, None before the first.

    Rows after the step a run resumes from are dropped: those steps are done again.
    """

    def __init__(self, path: Path, step: int) -> None:
        self._path = path
        self.last: float | None = None
        kept = self._read(step) if step and path.is_file() else []
        if kept:
            self.last = float(kept[-1][1])
        self._write([_LOG_HEADER, *kept], "w")

    def _read(self, step: int) -> list[tuple[str, ...]]:
        with self._path.open(newline="") as f:
            rows = list(csv.reader(f))[1:]
        return [tuple(row) for row in rows if len(row) == len(_LOG_HEADER) and int(row[0]) <= step]

    def add(self, step: int, loss: float, rate: float, seconds: float) -> None:
        self.last = loss
        self._write([(step, f"{loss:.5f}", f"{rate:.3g}", f"{seconds:.1f}")], "a")

    def _write(self, rows: list[tuple[object, ...]], mode: str) -> None:
        with self._path.open(mode, newline="") as f:
            csv.writer(f).writerows(rows)


def _save(
    path: Path,
    step: int,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    rng: np.random.Generator,
    noise: torch.Generator,
    clock: _Clock,
) -> None:
    state = {
        "step": step,
        "model": model.state_dict(),
        "optimiser": optimiser.state_dict(),
        "rng": {k: _plain(v) for k, v in rng.bit_generator.state.items()},
        "noise": noise.get_state(),
        "seconds": clock.seconds(),
    }
    part = path.with_suffix(".part")
    torch.save(state, part)
    part.replace(path)


def _plain(value: Any) -> Any:
    # The generator's 128-bit integers do not fit torch.save's safe types; text does.
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return str(value) if isinstance(value, int) else value


def _unplain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _unplain(v) for k, v in value.items()}
    return int(value) if isinstance(value, str) and value.isdigit() else value


def _resume(
    path: Path,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    rng: np.random.Generator,
    noise: torch.Generator,
    clock: _Clock,
) -> int:
    if not path.is_file():
        return 0
    try:
        state = torch.load(path, weights_only=True)
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        rng.bit_generator.state = _unplain(state["rng"])
        noise.set_state(state["noise"])
        clock.restore(float(state["seconds"]))
        return int(state["step"])
    except pickle.UnpicklingError as error:  # its text advises to load unsafely, which helps nobody
        raise WeightsError(
            f"cannot resume from {path}: it is no training state; remove the file to start anew"
        ) from error
    except (RuntimeError, KeyError, TypeError, ValueError, EOFError, OSError) as error:
        reason = " ".join(str(error).split())
        raise WeightsError(f"cannot resume from {path}: {reason}; remove the file to start anew") from error
