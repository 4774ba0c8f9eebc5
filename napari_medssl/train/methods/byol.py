"""BYOL and SimSiam: no negatives, but a predictor and a target that is not trained."""

from __future__ import annotations

from dataclasses import dataclass, field

from napari_medssl.models.heads import mlp
from napari_medssl.settings import setting
from napari_medssl.train.method import Method, Recipe, add_method
from napari_medssl.train.methods.ingredients.joint_views import three_layers
from napari_medssl.train.methods.ingredients.slice_views import (
    HIDDEN,
    WIDTH,
    SliceViewSettings,
    encoder_of,
    small,
    views_of,
)
from napari_medssl.train.objectives.byol import ByolObjective, SimSiamObjective
from napari_medssl.train.run_settings import OptimSettings, RunSettings


@dataclass(frozen=True)
class ByolSettings(SliceViewSettings):
    """BYOL with the published heads; the thesis' table 5.5 counts the hidden layer."""

    momentum: float = setting(0.996, "Share of itself the target keeps at the first step; rises to 1.", ge=0.0, le=1.0)
    hidden: int = setting(4096, "Width of the hidden layer of projector and predictor.", ge=2, le=16384, advanced=True)
    width: int = setting(256, WIDTH, ge=2, le=16384, advanced=True)


@dataclass(frozen=True)
class SimSiamSettings(SliceViewSettings):
    """SimSiam with the published heads and optimiser: 0.05 per batch of 256."""

    hidden: int = setting(2048, HIDDEN, ge=2, le=16384, advanced=True)
    width: int = setting(2048, WIDTH, ge=2, le=16384, advanced=True)
    bottleneck: int = setting(512, "Width of the predictor's hidden layer.", ge=2, le=16384, advanced=True)
    run: RunSettings = field(
        default_factory=lambda: RunSettings(
            batch=128,
            optim=OptimSettings(name="sgd", learning_rate=0.025, schedule="cosine", momentum=0.9, weight_decay=1e-4),
        )
    )


def build_byol(settings: ByolSettings) -> Recipe:
    """Two-layer projector and predictor."""
    encoder = encoder_of(settings)
    objective = ByolObjective(
        encoder,
        mlp([encoder.channels, settings.hidden, settings.width]),
        mlp([settings.width, settings.hidden, settings.width]),
        momentum=settings.momentum,
    )
    return Recipe(views_of(settings, encoder), objective, settings.encoder)


def build_simsiam(settings: SimSiamSettings) -> Recipe:
    """Three-layer projector with batch normalisation to the end, two-layer predictor with a bottleneck."""
    encoder = encoder_of(settings)
    objective = SimSiamObjective(
        encoder,
        three_layers(encoder.channels, settings.hidden, settings.width, last_norm=True),
        mlp([settings.width, settings.bottleneck, settings.width]),
    )
    return Recipe(views_of(settings, encoder), objective, settings.encoder)


add_method(
    Method(
        name="byol",
        line="Predict what a slowly following network makes of the other view; no negatives.",
        source="thesis 2.2.3.2, 5.5.2 (run); Grill et al. 2020",
        family="non-contrastive",
        dims=2,
        settings=ByolSettings,
        small=small(ByolSettings(), hidden=64, width=32),
        build=build_byol,
    )
)

add_method(
    Method(
        name="simsiam",
        line="BYOL without the slow network: the other view's embedding is the target, its gradient stopped.",
        source="guide 001; Chen and He 2021",
        family="non-contrastive",
        dims=2,
        settings=SimSiamSettings,
        small=small(SimSiamSettings(), hidden=64, width=32, bottleneck=16),
        build=build_simsiam,
    )
)
