"""Training an encoder with a head on labelled examples: one loop for every way of fine-tuning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from napari_medssl.errors import SettingsError
from napari_medssl.evaluate.phases import Mode, Phase, encoder_stages, phase_at
from napari_medssl.progress import Progress, Steps
from napari_medssl.settings import setting
from napari_medssl.train.divergence import DivergedError
from napari_medssl.transforms.view_presets import ViewPreset

_REPORT_EVERY = 10


@dataclass(frozen=True)
class FitSettings:
    """How an encoder is trained on labelled examples.

    Rates as guide 001 names them (S100: AdamW, head 1e-3, encoder 1e-4 for convolutional networks, 15,000 iterations).
    """

    mode: Mode = setting("full", "What is trained: frozen (the head), warm-up, gradual (unfreezing), full.")
    steps: int = setting(150, "Optimiser steps, whatever the number of labels.", ge=1)
    batch: int = setting(16, "Slices per step; of exams as many as have that many together, at least 4.", ge=2)
    head_rate: float = setting(1e-3, "Learning rate of the head, and of everything when trained from scratch.", ge=0)
    encoder_rate: float = setting(1e-4, "Learning rate of the encoder.", ge=0)
    weight_decay: float = setting(0.01, "Weight decay.", ge=0, le=1, advanced=True)
    exam_slices: int = setting(4, "Slices of an exam that are seen at a time.", ge=1, le=64)
    augment: ViewPreset = setting("none", "Random changes of the training slices; flips would swap left and right.")
    balance: Literal["none", "resample", "weights"] = setting(
        "none", "Against rare classes: draw each class equally often, or weigh it in the loss."
    )


def fit_steps(
    encoder: nn.Module,
    head: nn.Module,
    loss: Callable[[npt.NDArray[np.intp], np.random.Generator], Tensor],
    chances: npt.NDArray[np.float64] | None,
    count: int,
    settings: FitSettings,
    *,
    rng: np.random.Generator,
) -> Steps[None]:
    """Train `encoder` and `head` in place.

    loss: the scalar loss of the examples with these numbers (0 to count - 1), with what it draws at random.
    chances: (count,) probabilities of drawing an example; None passes through all of them in random order, again and
        again. A batch is never smaller than it can be, so that batch statistics make sense.

    Frozen stages stay in eval mode: their batch statistics are part of what is kept. Raises DivergedError when the loss
    is not finite.
    """
    stages = encoder_stages(encoder)
    if not stages and settings.mode != "frozen":
        raise SettingsError("this encoder has nothing to train; fine-tune it in the mode frozen")
    groups = [{"params": list(part.parameters()), "lr": 0.0} for part in (head, *stages)]
    optimiser = torch.optim.AdamW(groups, weight_decay=settings.weight_decay)
    batch = min(settings.batch, count) if chances is None else settings.batch
    order = _passes(count, batch, rng) if chances is None else _drawn(chances, batch, rng)
    per_epoch = max(1, count // batch)
    for step in range(settings.steps):
        if step % _REPORT_EVERY == 0:
            yield Progress(step, settings.steps, "fine-tuning")
        now = phase_at(
            settings.mode, step, steps=settings.steps, per_epoch=per_epoch, stages=len(stages),
            head_rate=settings.head_rate, encoder_rate=settings.encoder_rate,
        )  # fmt: skip
        apply_phase(now, encoder, head, stages, optimiser)
        value = loss(next(order), rng)
        if not torch.isfinite(value):
            raise DivergedError(f"the loss became {value.item()} at step {step}; lower head_rate and encoder_rate")
        optimiser.zero_grad(set_to_none=True)
        value.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    encoder.eval()
    head.eval()


def apply_phase(
    phase: Phase, encoder: nn.Module, head: nn.Module, stages: list[nn.Module], optimiser: torch.optim.Optimizer
) -> None:
    """Set modes, gradient flags and learning rates; the optimiser's groups are the head, then the stages."""
    encoder.eval()
    head.train()
    optimiser.param_groups[0]["lr"] = phase.head_rate
    for n, stage in enumerate(stages):
        trained = n >= len(stages) - phase.open
        stage.train(trained)
        stage.requires_grad_(trained)
        optimiser.param_groups[n + 1]["lr"] = phase.encoder_rate if trained else 0.0


def _passes(count: int, batch: int, rng: np.random.Generator) -> Any:
    """Full batches in random order; what is left at the end of a pass begins the next one."""
    waiting = np.zeros(0, np.intp)
    while True:
        while len(waiting) < batch:
            waiting = np.concatenate([waiting, rng.permutation(count)])
        yield waiting[:batch]
        waiting = waiting[batch:]


def _drawn(chances: npt.NDArray[np.float64], batch: int, rng: np.random.Generator) -> Any:
    while True:
        yield rng.choice(len(chances), batch, p=chances)
