"""What the methods that compare pairs of slice views share: their settings, and how they are put together."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from napari_medssl.models.heads import mlp
from napari_medssl.models.published_weights import load_published
from napari_medssl.pretext.views2d import SliceViews, ViewSettings
from napari_medssl.settings import setting
from napari_medssl.train.chosen_encoder import chosen_encoder
from napari_medssl.train.method import Recipe
from napari_medssl.train.objectives.pair import PairLoss, PairObjective
from napari_medssl.train.run_settings import OptimSettings, RunSettings
from napari_medssl.transforms.view_presets import ViewPreset

SGD_COSINE = OptimSettings(name="sgd", learning_rate=0.06, schedule="cosine", momentum=0.9, weight_decay=5e-4)
"""Thesis 5.5.2 and 6.5.2.1, small-scale experiments: 200 epochs, batches of 128."""

LARS_COSINE = OptimSettings(
    name="lars", learning_rate=0.1, schedule="cosine", momentum=0.9, weight_decay=1e-6, trust=1e-3
)
"""Thesis 4.5.2.1: no warm-up, no restarts, 100 epochs, batches of 64. The rest is not said (B4-14)."""


@dataclass(frozen=True)
class PairSettings:
    """Slices, encoder and projector; the projector is the one of thesis 6.5.2.1.

    The thesis has ResNet-18 and ResNet-50, from random weights in chapters 5 and 6.
    """

    size: int = setting(128, "Side of the framed slices in pixels, a multiple of 8.", ge=32, le=1024)
    views: ViewPreset = setting(
        "medical", "How strongly views differ: medical keeps lesions; thesis-4 and simclr as published; s1 to s6; none."
    )
    encoder: str = setting("slice-resnet", "Encoder to train, such as slice-resnet, resnet18-s8 or resnet50-s8.")
    encoder_options: str = setting("{}", 'Its options as JSON, such as {"in_slices": 3, "width": 32}.', advanced=True)
    start_weights: str = setting(
        "", "File of published ResNet weights (.pth or .safetensors) to start from; empty: random ones.", advanced=True
    )
    hidden: int = setting(
        0, "Width of the projector's hidden layer; 0: as wide as the encoder's features.", ge=0, le=16384, advanced=True
    )
    width: int = setting(128, "Length of a projected vector.", ge=2, le=16384, advanced=True)
    norm: bool = setting(True, "Batch normalisation after each layer of the projector.", advanced=True)
    run: RunSettings = field(default_factory=lambda: RunSettings(batch=128, optim=SGD_COSINE))


@dataclass(frozen=True)
class Chapter4Settings(PairSettings):
    """Projector and optimiser of thesis chapter 4.

    It starts from ImageNet weights (B4-20), which cannot come with the software: give their file as `start_weights`.
    """

    width: int = setting(512, "Length of a projected vector (published: 512 or 1024).", ge=2, le=16384, advanced=True)
    norm: bool = setting(False, "Batch normalisation after each layer of the projector.", advanced=True)
    run: RunSettings = field(default_factory=lambda: RunSettings(batch=64, optim=LARS_COSINE))


S = TypeVar("S", bound=PairSettings)


def pair_recipe(
    settings: PairSettings, loss: PairLoss, *, schedule: Callable[[float], PairLoss] | None = None
) -> Recipe:
    """The method with this loss: two views of a slice, encoder, two-layer projector."""
    encoder: Any = chosen_encoder(settings.encoder, settings.encoder_options, size=settings.size)
    if settings.start_weights:
        report = load_published(encoder, Path(settings.start_weights))
        logging.getLogger(__name__).info("%s: %s", settings.start_weights, report.sentence())
    widths = [encoder.channels, settings.hidden or encoder.channels, settings.width]
    projector = mlp(widths, norm=settings.norm, last_norm=settings.norm)
    task = SliceViews(ViewSettings(preset=settings.views, size=settings.size), channels=encoder.in_slices)
    return Recipe(task, PairObjective(encoder, projector, loss, schedule=schedule), settings.encoder)


def small(settings: S) -> S:
    """The same method with a narrow encoder, small slices and batches of 8.

    The rate of SGD shrinks with the batch (the published one makes batches of 8 diverge into one direction); LARS sets
    its steps by the weights, not by the batch.
    """
    optim, batch = settings.run.optim, 8
    if optim.name == "sgd":
        optim = replace(optim, learning_rate=optim.learning_rate * batch / settings.run.batch)
    run = replace(settings.run, steps=200, batch=batch, epoch=200, optim=optim)
    options = '{"in_slices": 1, "width": 8, "channels": 32}'
    return replace(settings, size=64, encoder_options=options, width=32, run=run)
