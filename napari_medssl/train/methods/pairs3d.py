"""SimCLR and BYOL on overlapping crops of volumes."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from napari_medssl.losses.infonce import info_nce
from napari_medssl.losses.temperature import Constant
from napari_medssl.models.heads import mlp
from napari_medssl.pretext.views3d import OverlappingCrops
from napari_medssl.settings import setting
from napari_medssl.train.method import Method, Recipe, add_method
from napari_medssl.train.objectives.byol import ByolObjective
from napari_medssl.train.objectives.keep_target import KeepTarget
from napari_medssl.train.objectives.pair import PairObjective
from napari_medssl.train.run_settings import OptimSettings, RunSettings
from napari_medssl.train.volume_settings import ENCODER, VolumeSettings, volume_encoder

_PROJECTOR = (512, 256)  # of SimCLR by the paper's code; of BYOL and its predictor ours

_SGD = OptimSettings("sgd", learning_rate=0.03, schedule="cosine", weight_decay=1e-4)  # the paper names SGD alone


@dataclass(frozen=True)
class Simclr3dSettings(VolumeSettings):
    """Settings of simclr3d; the paper gives no temperature, 0.07 is its code's (B2-11)."""

    min_iou: float = setting(0.25, "Least overlap of the two crops, intersection over union.", ge=0.0, le=0.99)
    temperature: float = setting(0.07, "What cosine similarities are divided by.", ge=0.001, le=10.0)
    run: RunSettings = field(default_factory=lambda: RunSettings(batch=32, optim=_SGD))


@dataclass(frozen=True)
class Byol3dSettings(VolumeSettings):
    """Settings of byol3d. The paper prints no predictor and no normalisation, without which it collapses (B2-11)."""

    min_iou: float = setting(0.25, "Least overlap of the two crops, intersection over union.", ge=0.0, le=0.99)
    momentum: float = setting(0.996, "Share of itself that the target keeps at the first step.", ge=0.0, le=1.0)
    keep: Literal["online", "target"] = setting(
        "online", "Network to keep: online transferred better to lung nodules, target to the liver."
    )
    run: RunSettings = field(default_factory=lambda: RunSettings(batch=32, optim=_SGD))


_SMALL = Simclr3dSettings(
    crop_z=16, crop_y=24, crop_x=24, width=0.125, run=RunSettings(steps=200, batch=16, optim=_SGD)
)
_SMALL_BYOL = Byol3dSettings(
    crop_z=16, crop_y=24, crop_x=24, width=0.125, run=RunSettings(steps=200, batch=16, optim=_SGD)
)


def _simclr(settings: Simclr3dSettings) -> Recipe:
    encoder = volume_encoder(settings)
    loss = partial(info_nce, temperature=Constant(settings.temperature))
    objective = PairObjective(encoder, mlp([encoder.channels, *_PROJECTOR]), loss)
    return Recipe(OverlappingCrops(settings.crop, min_iou=settings.min_iou), objective, ENCODER, role="encoder3d")


def _byol(settings: Byol3dSettings) -> Recipe:
    encoder = volume_encoder(settings)
    projector, predictor = mlp([encoder.channels, *_PROJECTOR]), mlp([_PROJECTOR[-1], *_PROJECTOR])
    byol = ByolObjective(encoder, projector, predictor, momentum=settings.momentum)
    objective = byol if settings.keep == "online" else KeepTarget(byol)
    return Recipe(OverlappingCrops(settings.crop, min_iou=settings.min_iou), objective, ENCODER, role="encoder3d")


add_method(
    Method(
        name="simclr3d",
        line="Finds the overlapping crop of a crop among all crops of the batch.",
        source="paper 002, Eq. 11 (SimCLR); Chen et al. 2020",
        family="contrastive",
        dims=3,
        settings=Simclr3dSettings,
        small=_SMALL,
        build=_simclr,
    )
)
add_method(
    Method(
        name="byol3d",
        line="Predicts what a slowly following network makes of an overlapping crop.",
        source="paper 002, Eq. 12 (BYOL); Grill et al. 2020",
        family="non-contrastive",
        dims=3,
        settings=Byol3dSettings,
        small=_SMALL_BYOL,
        build=_byol,
    )
)
