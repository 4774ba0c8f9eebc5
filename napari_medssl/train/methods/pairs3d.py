"""SimCLR and BYOL on overlapping crops of volumes."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from napari_medssl.losses.infonce import info_nce
from napari_medssl.losses.temperature import Constant
from napari_medssl.models.heads import mlp
from napari_medssl.pretext.views3d import VIEW_AFFINE, OverlappingCrops
from napari_medssl.settings import setting
from napari_medssl.train.method import Method, Recipe, add_method
from napari_medssl.train.methods.ingredients.volumes import VolumeSettings, small_volumes, volume_encoder, volume_recipe
from napari_medssl.train.objectives.byol import ByolObjective
from napari_medssl.train.objectives.keep_target import KeepTarget
from napari_medssl.train.objectives.pair import PairObjective
from napari_medssl.train.run_settings import OptimSettings, RunSettings
from napari_medssl.transforms.strengths import STRENGTHS

_PROJECTOR = (512, 256)  # of SimCLR by the paper's code; of BYOL and its predictor ours

_SGD = OptimSettings("sgd", learning_rate=0.03, schedule="cosine", weight_decay=1e-4)  # the paper names SGD alone


@dataclass(frozen=True)
class OverlapSettings(VolumeSettings):
    """Settings of both."""

    min_iou: float = setting(0.25, "Least overlap of the two crops, intersection over union.", ge=0.0, le=0.99)
    strength: Literal["own", "none", "S1", "S2", "S3", "S4", "S5", "S6"] = setting(
        "own", "How views are flipped, turned and scaled: as S76 says, or a strength of paper 002's section 7."
    )
    run: RunSettings = field(default_factory=lambda: RunSettings(batch=32, optim=_SGD))


@dataclass(frozen=True)
class Simclr3dSettings(OverlapSettings):
    """Settings of simclr3d; the paper gives no temperature, 0.07 is its code's (B2-11)."""

    temperature: float = setting(0.07, "What cosine similarities are divided by.", ge=0.001, le=10.0)


@dataclass(frozen=True)
class Byol3dSettings(OverlapSettings):
    """Settings of byol3d. The paper prints no predictor and no normalisation, without which it collapses (B2-11)."""

    momentum: float = setting(0.996, "Share of itself that the target keeps at the first step.", ge=0.0, le=1.0)
    keep: Literal["online", "target"] = setting(
        "online", "Network to keep: online transferred better to lung nodules, target to the liver."
    )


_SMALL = small_volumes(Simclr3dSettings(), crop=(16, 24, 24), batch=16)
_SMALL_BYOL = small_volumes(Byol3dSettings(), crop=(16, 24, 24), batch=16)


def _views(settings: OverlapSettings) -> OverlappingCrops:
    affine = VIEW_AFFINE if settings.strength == "own" else STRENGTHS[settings.strength]
    return OverlappingCrops(settings.crop, min_iou=settings.min_iou, affine=affine)


def _simclr(settings: Simclr3dSettings) -> Recipe:
    encoder = volume_encoder(settings)
    loss = partial(info_nce, temperature=Constant(settings.temperature))
    objective = PairObjective(encoder, mlp([encoder.channels, *_PROJECTOR]), loss)
    return volume_recipe(_views(settings), objective)


def _byol(settings: Byol3dSettings) -> Recipe:
    encoder = volume_encoder(settings)
    projector, predictor = mlp([encoder.channels, *_PROJECTOR]), mlp([_PROJECTOR[-1], *_PROJECTOR])
    byol = ByolObjective(encoder, projector, predictor, momentum=settings.momentum)
    objective = byol if settings.keep == "online" else KeepTarget(byol)
    return volume_recipe(_views(settings), objective)


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
