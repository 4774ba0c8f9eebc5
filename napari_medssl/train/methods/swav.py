"""SwAV: clustering online."""

from __future__ import annotations

from dataclasses import dataclass, field

from napari_medssl.models.heads import mlp
from napari_medssl.settings import setting
from napari_medssl.train.method import Method, Recipe, add_method
from napari_medssl.train.methods.ingredients.slice_views import SliceViewSettings, encoder_of, small, views_of
from napari_medssl.train.objectives.swav import SwavObjective
from napari_medssl.train.run_settings import OptimSettings, RunSettings


@dataclass(frozen=True)
class SwavSettings(SliceViewSettings):
    """SwAV with the published temperatures and optimiser (0.6 per batch of 256).

    The published 3,000 prototypes need a large batch or a queue, which is left out: 64 are half the batch (ours).
    """

    prototypes: int = setting(64, "Clusters; not more than the batch.", ge=2, le=100_000)
    temperature: float = setting(0.1, "What similarities to prototypes are divided by.", ge=0.01, le=10.0)
    sharpness: float = setting(0.05, "Weight of the entropy of assignments; lower is harder.", ge=0.01, le=10.0)
    rounds: int = setting(3, "Rounds of Sinkhorn and Knopp's normalisation.", ge=1, le=100, advanced=True)
    still: float = setting(0.01, "Share of the run in which prototypes do not learn.", ge=0.0, le=1.0, advanced=True)
    hidden: int = setting(2048, "Width of the projector's hidden layer.", ge=2, le=16384, advanced=True)
    width: int = setting(128, "Length of a vector that is compared with prototypes.", ge=2, le=16384, advanced=True)
    run: RunSettings = field(
        default_factory=lambda: RunSettings(
            batch=128, optim=OptimSettings(name="lars", learning_rate=0.3, schedule="cosine", weight_decay=1e-6)
        )
    )


def build_swav(settings: SwavSettings) -> Recipe:
    """Two-layer projector."""
    encoder = encoder_of(settings)
    objective = SwavObjective(
        encoder,
        mlp([encoder.channels, settings.hidden, settings.width]),
        width=settings.width,
        prototypes=settings.prototypes,
        temperature=settings.temperature,
        sharpness=settings.sharpness,
        rounds=settings.rounds,
        still=settings.still,
    )
    return Recipe(views_of(settings, encoder), objective, settings.encoder)


add_method(
    Method(
        name="swav",
        line="Predict the cluster of one view from the other; clusters are learned and of equal size.",
        source="guide 001; Caron et al. 2020",
        family="non-contrastive",
        dims=2,
        settings=SwavSettings,
        small=small(SwavSettings(), prototypes=8, hidden=64, width=32),
        build=build_swav,
    )
)
