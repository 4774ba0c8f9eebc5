"""What every training run is asked, whatever its method."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from napari_medssl.settings import setting

OptimiserName: TypeAlias = Literal["sgd", "adam", "adamw", "rmsprop", "lars"]
ScheduleName: TypeAlias = Literal["constant", "cosine", "one-cycle", "exponential", "steps", "plateau"]


@dataclass(frozen=True)
class OptimSettings:
    """Optimiser and learning-rate schedule.

    `exponential` multiplies by `decay` after every epoch, `steps` after every `decay_every` epochs, `plateau` when the
    training loss has not fallen for `patience` epochs; `one-cycle` and `cosine` follow the share of the run.
    """

    name: OptimiserName = setting("adamw", "Optimiser.")
    learning_rate: float = setting(1e-3, "Learning rate at its highest.", ge=0.0, le=100.0)
    schedule: ScheduleName = setting("one-cycle", "How the learning rate changes over the run.")
    warmup: float = setting(0.0, "Share of the run in which the learning rate rises from 0.", ge=0.0, le=0.5)
    decay: float = setting(0.95, "Factor of the schedules exponential, steps and plateau.", ge=0.0, le=1.0)
    decay_every: int = setting(1, "Epochs between two decays of the schedule steps.", ge=1, advanced=True)
    patience: int = setting(10, "Epochs without gain before the schedule plateau decays.", ge=1, advanced=True)
    momentum: float = setting(0.9, "Momentum of sgd, rmsprop and lars.", ge=0.0, le=0.9999, advanced=True)
    weight_decay: float = setting(1e-4, "Weight decay.", ge=0.0, le=1.0)
    trust: float = setting(1e-3, "Trust coefficient of lars.", ge=0.0, le=1.0, advanced=True)
    clip_norm: float = setting(0.0, "Largest length of the gradient; 0 leaves it as it is.", ge=0.0, advanced=True)


@dataclass(frozen=True)
class RunSettings:
    """Length, batch, precision and bookkeeping of a run."""

    steps: int = setting(2000, "Optimiser steps.", ge=1)
    max_minutes: float = setting(0.0, "Also stop after this wall time, cooling down in time; 0: no limit.", ge=0.0)
    batch: int = setting(32, "Examples per optimiser step, over all processes.", ge=1)
    accumulate: int = setting(1, "Parts a batch is cut into to save memory; in-batch negatives stay in a part.", ge=1)
    epoch: int = setting(1000, "Examples that count as an epoch for the schedules.", ge=1, advanced=True)
    optim: OptimSettings = field(default_factory=OptimSettings)
    precision: Literal["auto", "float32", "bf16", "fp16"] = setting(
        "auto", "Number format of the networks; auto: bf16 on a GPU that has it, float32 elsewhere. Losses: float32."
    )
    seed: int = setting(0, "Seed of the first weights and of every example.", ge=0)
    workers: int = setting(-1, "Processes that draw examples; -1: none on a CPU, up to 8 beside a GPU.", ge=-1, le=64)
    validation_share: float = setting(0.1, "Share of the subjects kept for the curves.", ge=0.0, le=0.5)
    save_every: int = setting(250, "Steps between two saved states.", ge=1, advanced=True)
    log_every: int = setting(20, "Steps between two rows of the log.", ge=1, advanced=True)
    monitor_every: int = setting(500, "Steps between two k-NN checks on the kept subjects; 0: never.", ge=0)
    bad_files: Literal["skip", "stop"] = setting("skip", "What to do with a scan that cannot be read.")
    tensorboard: bool = setting(False, "Also write TensorBoard events (needs the package tensorboard).", advanced=True)
