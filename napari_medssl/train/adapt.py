"""A short self-supervised training of an encoder on the scan at hand."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from napari_medssl.errors import SettingsError
from napari_medssl.oneshot.superpixels import SuperpixelSettings
from napari_medssl.pretext.scan import Scan
from napari_medssl.pretext.task import Example
from napari_medssl.progress import Progress, Steps
from napari_medssl.settings import check, setting
from napari_medssl.train.episodes.episode_source import EpisodeSettings
from napari_medssl.train.episodes.superpixel_episodes import SuperpixelEpisodes
from napari_medssl.train.grid import Grid
from napari_medssl.train.loader import collate, to_device
from napari_medssl.train.objectives.superpixel_matching import SuperpixelMatching
from napari_medssl.train.optimisers import COWPRO, make_optimiser
from napari_medssl.train.schedules import rate
from napari_medssl.train.store import prepare_volume
from napari_medssl.volume import Volume

_CLIP_NORM = 1.0  # a single odd episode must not undo what was learned before
_TRAINING, _HELD_OUT = 0, 1  # streams of episodes
_EPOCH = 1000  # steps between two decays of the learning rate


@dataclass(frozen=True)
class AdaptSettings:
    """A short self-supervised training on the scan at hand."""

    iterations: int = setting(200, "Optimiser steps.", ge=1, le=100_000)
    learning_rate: float = setting(1e-3, "Learning rate.", ge=0.0, le=10.0)
    checks: int = setting(
        32, "Held-out episodes scored before and after; the scan's own encoder is kept only if it is not worse.", ge=1
    )
    seed: int = setting(0, "Seed of every draw.", ge=0)
    episodes: EpisodeSettings = field(default_factory=EpisodeSettings)
    superpixels: SuperpixelSettings = field(default_factory=SuperpixelSettings)


@dataclass(frozen=True, eq=False)
class Adapted:
    """An encoder after a short training on a scan, in eval mode.

    encoder: the adapted copy, or the one given when the copy was not better. kept: whether it is the copy.
    before, after: mean Dice of held-out superpixel episodes with either.
    """

    encoder: nn.Module
    kept: bool
    before: float
    after: float


def adapt_encoder(
    encoder: nn.Module,
    volumes: Sequence[Volume],
    settings: AdaptSettings | None = None,
    *,
    device: torch.device | str = "cpu",
) -> Steps[Adapted]:
    """Train a copy of `encoder` for a short while on these scans alone; no labels are needed.

    The copy replaces the encoder only when it finds superpixels in changed slices at least as well on episodes kept for
    that (the same ones before and after). Statistics of normalisation layers stay as they are: one scan is too little
    to estimate them. Steps whose loss or gradient is not finite are left out.

    Yields Progress. Raises SettingsError when the encoder has nothing to train, FormatError when no slice is usable.
    """
    settings = settings or AdaptSettings()
    check(settings)
    if next(encoder.parameters(), None) is None:
        raise SettingsError(f"the encoder {type(encoder).__name__!r} has nothing to train; choose slice-resnet")
    copied: Any = copy.deepcopy(encoder).to(device).requires_grad_(True)
    grid = Grid(size=copied.input_size)
    scans = [prepare_volume(v, grid, name=(v.source or Path("scan")).name, group="") for v in volumes]
    task = SuperpixelEpisodes(settings.episodes, settings.superpixels, context=copied.in_slices, stride=copied.stride)
    objective = SuperpixelMatching(copied, settings.episodes, freeze_norm=True)
    before = held_out_dice(objective, task, scans, settings)
    yield from _train(objective, task, scans, settings)
    after = held_out_dice(objective, task, scans, settings)
    kept = after >= before
    copied.eval()
    return Adapted(copied.requires_grad_(False) if kept else encoder, kept, before, after)


def held_out_dice(
    objective: SuperpixelMatching, task: SuperpixelEpisodes, scans: Sequence[Scan], settings: AdaptSettings
) -> float:
    """Mean Dice of `checks` episodes that training does not draw; the same ones at every call."""
    objective.eval()
    with torch.inference_mode():
        scores = [
            float(objective(_episode(objective, task, scans, [settings.seed, _HELD_OUT, n]))["dice"])
            for n in range(settings.checks)
        ]
    return float(np.mean(scores))


def _train(
    objective: SuperpixelMatching, task: SuperpixelEpisodes, scans: Sequence[Scan], settings: AdaptSettings
) -> Steps[None]:
    optim = replace(COWPRO, learning_rate=settings.learning_rate)
    optimiser = make_optimiser(objective, optim)
    objective.train()
    for step in range(settings.iterations):
        yield Progress(step, settings.iterations, "adapting to the scan")
        for group in optimiser.param_groups:
            group["lr"] = rate(optim, share=step / settings.iterations, epoch=step // _EPOCH)
        optimiser.zero_grad(set_to_none=True)
        loss = objective(_episode(objective, task, scans, [settings.seed, _TRAINING, step]))["loss"]
        loss.backward()
        norm = float(nn.utils.clip_grad_norm_(objective.parameters(), _CLIP_NORM))
        if math.isfinite(norm) and math.isfinite(float(loss.detach())):
            optimiser.step()


def _episode(
    objective: SuperpixelMatching, task: SuperpixelEpisodes, scans: Sequence[Scan], seed: list[int]
) -> Example:
    example = collate([task.draw(scans, np.random.default_rng(seed))])
    return task.prepare(to_device(example, next(objective.parameters()).device))
