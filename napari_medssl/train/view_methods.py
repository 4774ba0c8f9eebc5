"""What the methods that align two views of a slice share: their settings, task, encoder and projector."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from torch import nn

from napari_medssl.models.heads import mlp
from napari_medssl.pretext.views2d import SliceViews, ViewSettings
from napari_medssl.settings import setting
from napari_medssl.train.chosen_encoder import chosen_encoder
from napari_medssl.train.optimisers import THESIS_LARGE, THESIS_SMALL, square_root_rate
from napari_medssl.train.run_settings import RunSettings
from napari_medssl.transforms.view_presets import ViewPreset

WIDTH = "Length of a projected vector."
NORM = "Batch normalisation in the head. Published heads have none and rely on that of a ResNet; slice-resnet has none."
HIDDEN = "Width of the projector's hidden layers."

LARGE_AT_128 = replace(THESIS_LARGE, learning_rate=square_root_rate(128))
"""Thesis 5.5.2 for large images, scaled to a batch of 128: for methods whose numbers it quotes on these. LARS takes
steps of the same length whether a loss is a sum or a mean over dimensions."""


@dataclass(frozen=True)
class ViewMethodSettings:
    """Slices, encoder and run; each method adds its projector and loss.

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


S = TypeVar("S", bound=ViewMethodSettings)


def encoder_of(settings: ViewMethodSettings) -> Any:
    """The encoder to train."""
    return chosen_encoder(settings.encoder, settings.encoder_options, size=settings.size)


def views_of(settings: ViewMethodSettings, encoder: Any) -> SliceViews:
    """The task: two views of a slice, with as many neighbours as the encoder takes."""
    return SliceViews(ViewSettings(preset=settings.views, size=settings.size), channels=encoder.in_slices)


def three_layers(encoder: Any, hidden: int, width: int, *, last_norm: bool = False) -> nn.Sequential:
    """The projector of Barlow Twins and its kin: batch normalisation after each layer but the last."""
    return mlp([encoder.channels, hidden, hidden, width], last_norm=last_norm, last_bias=False)


def small(settings: S, **changes: Any) -> S:
    """The same method with a narrow encoder, small slices, batches of 16 and `changes`."""
    run = replace(settings.run, steps=200, batch=16, epoch=200)
    options = '{"in_slices": 1, "width": 8, "channels": 32}'
    return replace(settings, size=64, encoder_options=options, run=run, **changes)
