"""Every view of a slice against all views of the batch: the settings and recipe of the methods that do this."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeVar

from napari_medssl.models.heads import mlp
from napari_medssl.settings import setting
from napari_medssl.train.method import Recipe
from napari_medssl.train.methods.ingredients.slice_encoder import starting_encoder
from napari_medssl.train.methods.ingredients.slice_views import LIKE_FEATURES, SliceViewSettings, small, views_of
from napari_medssl.train.objectives.pair import PairLoss, PairObjective
from napari_medssl.train.optimisers import THESIS_BINARY
from napari_medssl.train.run_settings import RunSettings


@dataclass(frozen=True)
class PairSettings(SliceViewSettings):
    """The projector is the one of thesis 6.5.2.1.

    The thesis has ResNet-18 and ResNet-50, from random weights in chapters 5 and 6.
    """

    start_from: str = setting(
        "", "Weights to start from: a torchvision/COCO file, or a weights file of this project.", advanced=True
    )
    hidden: int = setting(0, LIKE_FEATURES, ge=0, le=16384, advanced=True)
    width: int = setting(128, "Length of a projected vector.", ge=2, le=16384, advanced=True)
    norm: bool = setting(True, "Batch normalisation after each layer of the projector.", advanced=True)


@dataclass(frozen=True)
class Chapter4Settings(PairSettings):
    """Projector and optimiser of thesis chapter 4: 100 epochs, batches of 64.

    It starts from ImageNet weights (B4-20), which cannot come with the software: give their file as `start_from`.
    """

    width: int = setting(512, "Length of a projected vector (published: 512 or 1024).", ge=2, le=16384, advanced=True)
    norm: bool = setting(False, "Batch normalisation after each layer of the projector.", advanced=True)
    run: RunSettings = field(default_factory=lambda: RunSettings(batch=64, optim=THESIS_BINARY))


S = TypeVar("S", bound=PairSettings)


def pair_recipe(
    settings: PairSettings, loss: PairLoss, *, schedule: Callable[[float], PairLoss] | None = None
) -> Recipe:
    """The method with this loss: two views of a slice, encoder, two-layer projector."""
    encoder, start = starting_encoder(
        settings.encoder, settings.encoder_options, settings.start_from, size=settings.size
    )
    widths = [encoder.channels, settings.hidden or encoder.channels, settings.width]
    projector = mlp(widths, norm=settings.norm, last_norm=settings.norm)
    objective = PairObjective(encoder, projector, loss, schedule=schedule)
    return Recipe(views_of(settings, encoder), objective, settings.encoder, facts={"start": start})


def small_pairs(settings: S) -> S:
    """The same method, small, with batches of 8.

    The rate of SGD shrinks with the batch (the published one makes batches of 8 diverge into one direction); LARS sets
    its steps by the weights, not by the batch.
    """
    smaller = small(settings, batch=8, width=32)
    if settings.run.optim.name != "sgd":
        return smaller
    rate = settings.run.optim.learning_rate * smaller.run.batch / settings.run.batch
    return replace(smaller, run=replace(smaller.run, optim=replace(settings.run.optim, learning_rate=rate)))
