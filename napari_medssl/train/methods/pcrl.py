"""PCRL-lite."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from napari_medssl.pretext.pcrl import N_CONDITIONS, ConditionedViews
from napari_medssl.settings import setting
from napari_medssl.train.method import Method, Recipe, add_method
from napari_medssl.train.methods.ingredients.volumes import VolumeSettings, small_volumes, volume_encoder, volume_recipe
from napari_medssl.train.objectives.pcrl import PcrlObjective
from napari_medssl.train.run_settings import OptimSettings, RunSettings

_SGD = OptimSettings("sgd", learning_rate=1e-3, schedule="cosine")


@dataclass(frozen=True)
class PcrlSettings(VolumeSettings):
    """Settings of pcrl; the paper trains 240 epochs."""

    min_iou: float = setting(0.25, "Least overlap of the two crops, intersection over union.", ge=0.0, le=0.99)
    skip: bool = setting(True, "Let the decoder see the finer grids of the encoder, too.")
    temperature: float = setting(0.07, "Temperature of the contrastive terms.", ge=0.001, le=10.0)
    momentum: float = setting(0.999, "Share of itself that the teacher keeps at each step.", ge=0.0, le=1.0)
    run: RunSettings = field(default_factory=lambda: RunSettings(batch=8, optim=_SGD))


_SMALL = small_volumes(
    PcrlSettings(run=RunSettings(optim=replace(_SGD, learning_rate=0.05))), crop=(16, 24, 24), momentum=0.99
)


def _build(settings: PcrlSettings) -> Recipe:
    objective = PcrlObjective(
        volume_encoder(settings),
        conditions=N_CONDITIONS,
        skip=settings.skip,
        momentum=settings.momentum,
        temperature=settings.temperature,
    )
    return volume_recipe(ConditionedViews(settings.crop, min_iou=settings.min_iou), objective)


add_method(
    Method(
        name="pcrl",
        line="Contrasts overlapping crops and restores them under changes that are told (PCRL-lite).",
        source="paper 002, section 3.2 (PCRL); Zhou et al. 2021; simplified",
        family="hybrid",
        dims=3,
        settings=PcrlSettings,
        small=_SMALL,
        build=_build,
    )
)
