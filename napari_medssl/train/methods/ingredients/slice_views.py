"""Two views of a slice: the settings, task and encoder of every method that looks at them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from napari_medssl.pretext.views2d import SliceViews, ViewSettings
from napari_medssl.settings import setting
from napari_medssl.train.methods.ingredients.slice_encoder import chosen_encoder
from napari_medssl.train.optimisers import THESIS_SMALL
from napari_medssl.train.run_settings import RunSettings
from napari_medssl.transforms.view_presets import ViewPreset

WIDTH = "Length of a projected vector."
NORM = "Batch normalisation in the head. Published heads have none and rely on that of a ResNet; slice-resnet has none."
HIDDEN = "Width of the projector's hidden layers."
LIKE_FEATURES = "Width of the projector's hidden layer; 0: as wide as the encoder's features."

SMALL_ENCODER = '{"in_slices": 1, "width": 8, "channels": 32}'
"""Options of a slice-resnet that is quick on a laptop."""


@dataclass(frozen=True)
class SliceViewSettings:
    """Slices, encoder and run; each method adds its heads and loss.

    Batch and optimiser are those with which the thesis compares methods on small images (5.5.2), unless a method's
    paper has its own.
    """

    size: int = setting(128, "Side of the framed slices in pixels, a multiple of 8.", ge=32, le=1024)
    views: ViewPreset = setting(
        "medical", "How strongly views differ: medical keeps lesions; thesis-4 and simclr as published; s1 to s6; none."
    )
    encoder: str = setting("slice-resnet", "Encoder to train, such as slice-resnet, resnet18-s8 or resnet50-s8.")
    encoder_options: str = setting("{}", 'Its options as JSON, such as {"in_slices": 3, "width": 32}.', advanced=True)
    run: RunSettings = field(default_factory=lambda: RunSettings(batch=128, optim=THESIS_SMALL))


S = TypeVar("S", bound=SliceViewSettings)


def encoder_of(settings: SliceViewSettings) -> Any:
    """The encoder to train."""
    return chosen_encoder(settings.encoder, settings.encoder_options, size=settings.size)


def views_of(settings: SliceViewSettings, encoder: Any) -> SliceViews:
    """The task: two views of a slice, with as many neighbours as the encoder takes."""
    return SliceViews(ViewSettings(preset=settings.views, size=settings.size), channels=encoder.in_slices)


def small(settings: S, *, batch: int = 16, **changes: Any) -> S:
    """The same method with a narrow encoder, small slices, small batches and `changes`."""
    run = replace(settings.run, steps=200, batch=batch, epoch=200)
    return replace(settings, size=64, encoder_options=SMALL_ENCODER, run=run, **changes)
