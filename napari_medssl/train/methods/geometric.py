"""Predicting how a slice was moved or turned: the baselines of thesis 3.3.1."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from napari_medssl.models.heads import mlp
from napari_medssl.pretext.geometric import GeometricChange, GeometricSettings, QuarterTurns, RotationSettings
from napari_medssl.settings import setting
from napari_medssl.train.method import Method, Recipe, add_method
from napari_medssl.train.methods.ingredients.slice_encoder import chosen_encoder
from napari_medssl.train.methods.ingredients.slice_views import SMALL_ENCODER
from napari_medssl.train.objectives.label import LabelObjective, gridded
from napari_medssl.train.run_settings import RunSettings

_CELLS = 4
"""Features are averaged over 4 x 4 places (ours): their mean over the whole slice would not tell where they lie."""

_HIDDEN = 256
_ENCODER, _OPTIONS = "Encoder of slices.", 'Arguments of the encoder as JSON, such as {"width": 16}.'


@dataclass(frozen=True)
class GeometricMethodSettings(GeometricSettings):
    """54-way prediction; network and optimiser are ours, the thesis names only a VGG."""

    encoder: str = setting("slice-resnet", _ENCODER)
    encoder_options: str = setting("{}", _OPTIONS, advanced=True)
    run: RunSettings = field(default_factory=RunSettings)


@dataclass(frozen=True)
class RotationMethodSettings(RotationSettings):
    """Prediction of quarter turns; network and optimiser are ours."""

    encoder: str = setting("slice-resnet", _ENCODER)
    encoder_options: str = setting("{}", _OPTIONS, advanced=True)
    run: RunSettings = field(default_factory=RunSettings)


def build_geometric(settings: GeometricMethodSettings) -> Recipe:
    """Encoder, features on a coarse grid, two linear layers, 54 classes."""
    encoder = chosen_encoder(settings.encoder, settings.encoder_options, size=settings.size)
    return _recipe(GeometricChange(settings, encoder.in_slices), encoder, settings.encoder)


def build_rotation(settings: RotationMethodSettings) -> Recipe:
    """Encoder, features on a coarse grid, two linear layers, 4 classes."""
    encoder = chosen_encoder(settings.encoder, settings.encoder_options, size=settings.size)
    return _recipe(QuarterTurns(settings, encoder.in_slices), encoder, settings.encoder)


def _recipe(task: GeometricChange | QuarterTurns, encoder: Any, name: str) -> Recipe:
    head = mlp([encoder.channels * _CELLS**2, _HIDDEN, task.classes], norm=False)
    return Recipe(task, LabelObjective(encoder, head, look=gridded(_CELLS)), name)


_SMALL_RUN = RunSettings(steps=200, batch=8, epoch=200)

add_method(
    Method(
        name="geometric",
        line="Which of 54 rotations, shifts and scalings was made? Known to read borders: audit it for shortcuts.",
        source="thesis 3.3.1",
        family="predictive",
        dims=2,
        settings=GeometricMethodSettings,
        small=GeometricMethodSettings(size=64, encoder_options=SMALL_ENCODER, run=_SMALL_RUN),
        build=build_geometric,
    )
)

add_method(
    Method(
        name="rotation",
        line="Was the slice turned by 0, 90, 180 or 270 degrees?",
        source="Gidaris et al., 2018; thesis 3.1",
        family="predictive",
        dims=2,
        settings=RotationMethodSettings,
        small=RotationMethodSettings(size=64, encoder_options=SMALL_ENCODER, run=_SMALL_RUN),
        build=build_rotation,
    )
)
