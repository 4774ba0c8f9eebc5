"""Two views through three wide layers to a loss over the whole batch: Barlow Twins and its kin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor, nn

from napari_medssl.models.heads import mlp
from napari_medssl.settings import setting
from napari_medssl.train.method import Recipe
from napari_medssl.train.methods.ingredients.slice_views import HIDDEN, WIDTH, SliceViewSettings, encoder_of, views_of
from napari_medssl.train.objectives.joint import JointObjective
from napari_medssl.train.optimisers import THESIS_LARGE, square_root_rate

LARGE_AT_128 = replace(THESIS_LARGE, learning_rate=square_root_rate(128))
"""Thesis 5.5.2 for large images, scaled to a batch of 128: for methods whose numbers it quotes on these. LARS takes
steps of the same length whether a loss is a sum or a mean over dimensions."""


@dataclass(frozen=True)
class WideSettings(SliceViewSettings):
    """Three-layer projector, 2048 wide as in thesis Table 5.5; the papers have up to 8192."""

    hidden: int = setting(2048, HIDDEN, ge=2, le=16384, advanced=True)
    width: int = setting(2048, WIDTH, ge=2, le=16384, advanced=True)


def joint_recipe(settings: WideSettings, loss: Callable[[Tensor, Tensor], Tensor], *, shuffled: bool = False) -> Recipe:
    """The method with this loss; shuffled: as of `JointObjective`."""
    encoder = encoder_of(settings)
    projector = three_layers(encoder.channels, settings.hidden, settings.width)
    objective = JointObjective(encoder, projector, loss, shuffled=shuffled)
    return Recipe(views_of(settings, encoder), objective, settings.encoder)


def three_layers(channels: int, hidden: int, width: int, *, last_norm: bool = False) -> nn.Sequential:
    """The projector of Barlow Twins and its kin: batch normalisation after each layer but the last."""
    return mlp([channels, hidden, hidden, width], last_norm=last_norm, last_bias=False)
