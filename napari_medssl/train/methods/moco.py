"""MoCo-v2: many negatives without large batches."""

from __future__ import annotations

from dataclasses import dataclass

from napari_medssl.models.heads import mlp
from napari_medssl.settings import setting
from napari_medssl.train.method import Method, Recipe, add_method
from napari_medssl.train.methods.ingredients.slice_views import (
    LIKE_FEATURES,
    NORM,
    WIDTH,
    SliceViewSettings,
    encoder_of,
    small,
    views_of,
)
from napari_medssl.train.objectives.momentum_queue import MomentumQueueObjective


@dataclass(frozen=True)
class MocoSettings(SliceViewSettings):
    """MoCo-v2 at the temperature of thesis 5.5.2; the queue is shorter than the published 65,536 (small data)."""

    temperature: float = setting(0.07, "What cosine similarities are divided by.", ge=0.01, le=10.0)
    queue: int = setting(4096, "Keys of earlier batches that serve as negatives.", ge=8, le=1_000_000)
    momentum: float = setting(0.999, "Share of itself the key network keeps at each step.", ge=0.0, le=1.0)
    hidden: int = setting(0, LIKE_FEATURES, ge=0, le=16384, advanced=True)
    width: int = setting(128, WIDTH, ge=2, le=16384, advanced=True)
    norm: bool = setting(True, NORM, advanced=True)


def build_moco(settings: MocoSettings) -> Recipe:
    """Two-layer projector."""
    encoder = encoder_of(settings)
    objective = MomentumQueueObjective(
        encoder,
        mlp([encoder.channels, settings.hidden or encoder.channels, settings.width], norm=settings.norm),
        width=settings.width,
        queue=settings.queue,
        momentum=settings.momentum,
        temperature=settings.temperature,
    )
    return Recipe(views_of(settings, encoder), objective, settings.encoder)


add_method(
    Method(
        name="moco-v2",
        line="Find the other view of a slice among a queue of views of earlier batches; good with small batches.",
        source="thesis 5.5.2 (run), guide 001; He et al. 2020, Chen et al. 2020",
        family="contrastive",
        dims=2,
        settings=MocoSettings,
        small=small(MocoSettings(), queue=128, momentum=0.99, width=32),
        build=build_moco,
    )
)
