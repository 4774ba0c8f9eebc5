"""DINO: self-distillation over prototypes."""

from __future__ import annotations

from dataclasses import dataclass, field

from napari_medssl.models.heads import mlp
from napari_medssl.settings import setting
from napari_medssl.train.method import Method, Recipe, add_method
from napari_medssl.train.methods.ingredients.slice_views import (
    HIDDEN,
    NORM,
    SliceViewSettings,
    encoder_of,
    small,
    views_of,
)
from napari_medssl.train.objectives.dino import DinoObjective
from napari_medssl.train.run_settings import OptimSettings, RunSettings


@dataclass(frozen=True)
class DinoSettings(SliceViewSettings):
    """DINO with the published temperatures, momentum and optimiser (5e-4 per batch of 256).

    The published 65,536 prototypes are cut to 4,096 (small data), and weight decay stays at its first value.
    """

    prototypes: int = setting(4096, "Directions that both networks tell apart.", ge=2, le=1_000_000)
    momentum: float = setting(0.996, "Share of itself the teacher keeps at the first step; rises to 1.", ge=0.0, le=1.0)
    student_temperature: float = setting(0.1, "What the student's scores are divided by.", ge=0.01, le=10.0)
    first_temperature: float = setting(0.04, "What the teacher's scores are divided by at first.", ge=0.01, le=10.0)
    last_temperature: float = setting(0.07, "What they are divided by after the warm-up.", ge=0.01, le=10.0)
    warm: float = setting(0.3, "Share of the run in which that temperature rises.", ge=0.0, le=1.0, advanced=True)
    centre_momentum: float = setting(0.9, "Momentum of the running mean of scores.", ge=0.0, le=1.0, advanced=True)
    still: float = setting(0.01, "Share of the run in which prototypes do not learn.", ge=0.0, le=1.0, advanced=True)
    hidden: int = setting(2048, HIDDEN, ge=2, le=16384, advanced=True)
    width: int = setting(256, "Length of a vector that is compared with prototypes.", ge=2, le=16384, advanced=True)
    norm: bool = setting(True, NORM, advanced=True)
    run: RunSettings = field(
        default_factory=lambda: RunSettings(
            batch=128,
            optim=OptimSettings(name="adamw", learning_rate=2.5e-4, schedule="cosine", warmup=0.1, weight_decay=0.04),
        )
    )


def build_dino(settings: DinoSettings) -> Recipe:
    """Three-layer projector; ReLU where the paper has GELU, as in all heads here."""
    encoder = encoder_of(settings)
    objective = DinoObjective(
        encoder,
        mlp([encoder.channels, settings.hidden, settings.hidden, settings.width], norm=settings.norm),
        width=settings.width,
        prototypes=settings.prototypes,
        momentum=settings.momentum,
        teacher_temperature=(settings.first_temperature, settings.last_temperature),
        warm=settings.warm,
        student_temperature=settings.student_temperature,
        centre_momentum=settings.centre_momentum,
        still=settings.still,
    )
    return Recipe(views_of(settings, encoder), objective, settings.encoder)


add_method(
    Method(
        name="dino",
        line="A student learns the centred, sharpened clusters of its own slow teacher; the teacher is kept.",
        source="thesis 2.2.3.2, Table 6.4 (run); Caron et al. 2021",
        family="non-contrastive",
        dims=2,
        settings=DinoSettings,
        small=small(DinoSettings(), prototypes=64, hidden=64, width=32),
        build=build_dino,
    )
)
