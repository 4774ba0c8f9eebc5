"""PIRL: an image and a jigsaw puzzle of it have one embedding."""

from __future__ import annotations

from dataclasses import dataclass, field

from napari_medssl.models.heads import mlp
from napari_medssl.pretext.patches import PATCHES
from napari_medssl.pretext.puzzle_views import PuzzleViews
from napari_medssl.settings import setting
from napari_medssl.train.method import Method, Recipe, add_method
from napari_medssl.train.methods.ingredients.slice_views import (
    NORM,
    WIDTH,
    SliceViewSettings,
    encoder_of,
    small,
    views_of,
)
from napari_medssl.train.objectives.momentum_queue import PirlObjective
from napari_medssl.train.run_settings import OptimSettings, RunSettings


@dataclass(frozen=True)
class PirlSettings(SliceViewSettings):
    """PIRL with the published weights and optimiser (0.12 per batch of 1024) and the thesis' bank (3.5.3.2)."""

    patch: int = setting(0, "Side of a patch, a multiple of 8; 0: nine tenths of a third of the slice.", ge=0, le=340)
    bank: int = setting(1024, "Embeddings of other images that serve as negatives.", ge=8, le=1_000_000)
    share: float = setting(0.5, "Weight of the puzzle beside the image.", ge=0.0, le=1.0)
    temperature: float = setting(0.07, "What cosine similarities are divided by.", ge=0.01, le=10.0)
    momentum: float = setting(0.99, "Share of itself the remembering network keeps at each step.", ge=0.0, le=1.0)
    width: int = setting(128, WIDTH, ge=2, le=16384, advanced=True)
    norm: bool = setting(True, NORM, advanced=True)
    run: RunSettings = field(
        default_factory=lambda: RunSettings(
            batch=128,
            optim=OptimSettings(name="sgd", learning_rate=0.015, schedule="cosine", momentum=0.9, weight_decay=1e-4),
        )
    )


def build_pirl(settings: PirlSettings) -> Recipe:
    """Linear heads, as published: one for images, one for patches, one for the nine of them."""
    encoder = encoder_of(settings)
    task = PuzzleViews(views_of(settings, encoder), patch=settings.patch or _patch_side(settings.size))
    objective = PirlObjective(
        encoder,
        mlp([encoder.channels, settings.width], last_norm=settings.norm),
        mlp([encoder.channels, settings.width], last_norm=settings.norm),
        mlp([PATCHES * settings.width, settings.width], last_norm=settings.norm),
        width=settings.width,
        bank=settings.bank,
        momentum=settings.momentum,
        temperature=settings.temperature,
        share=settings.share,
    )
    return Recipe(task, objective, settings.encoder)


def _patch_side(size: int) -> int:
    """The published 64 of 75 pixels, as near as multiples of 8 allow."""
    return max(8, int(size // 3 * 0.9) // 8 * 8)


add_method(
    Method(
        name="pirl",
        line="A slice and a jigsaw puzzle of it are told apart from other slices by one embedding.",
        source="thesis 3.5.3.2 (run); Misra and van der Maaten 2020",
        family="contrastive",
        dims=2,
        settings=PirlSettings,
        small=small(PirlSettings(), bank=64, width=32),
        build=build_pirl,
    )
)
