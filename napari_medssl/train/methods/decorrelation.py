"""Barlow Twins, VICReg and LogDet: the dimensions of the embedding are kept from repeating each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

from napari_medssl.losses.barlow import barlow_twins
from napari_medssl.losses.logdet import logdet
from napari_medssl.losses.vicreg import vicreg
from napari_medssl.settings import setting
from napari_medssl.train.method import Method, Recipe, add_method
from napari_medssl.train.methods.ingredients.joint_views import LARGE_AT_128, WideSettings, joint_recipe
from napari_medssl.train.methods.ingredients.slice_views import small
from napari_medssl.train.run_settings import OptimSettings, RunSettings


@dataclass(frozen=True)
class BarlowSettings(WideSettings):
    """Barlow Twins with the published weight and the thesis' optimiser."""

    off_diagonal: float = setting(5e-3, "Weight of correlations between different dimensions.", ge=0.0, le=1.0)


@dataclass(frozen=True)
class VicregSettings(WideSettings):
    """VICReg with the published weights and optimiser (0.2 per batch of 256)."""

    invariance: float = setting(25.0, "Weight of the distance of views.", ge=0.0, le=1000.0)
    variance: float = setting(25.0, "Weight of dimensions that do not vary.", ge=0.0, le=1000.0)
    covariance: float = setting(1.0, "Weight of dimensions that vary together.", ge=0.0, le=1000.0)
    run: RunSettings = field(
        default_factory=lambda: RunSettings(
            batch=128,
            optim=OptimSettings(name="lars", learning_rate=0.1, schedule="cosine", warmup=0.01, weight_decay=1e-6),
        )
    )


@dataclass(frozen=True)
class LogdetSettings(WideSettings):
    """LogDet; the weight is ours, the optimiser the thesis' for large images."""

    weight: float = setting(1.0, "Weight of the covariance's divergence from the identity.", ge=0.0, le=1000.0)
    run: RunSettings = field(default_factory=lambda: RunSettings(batch=128, optim=LARGE_AT_128))


def build_barlow(settings: BarlowSettings) -> Recipe:
    """The loss over the cross-correlation."""
    return joint_recipe(settings, partial(barlow_twins, off_diagonal=settings.off_diagonal))


def build_vicreg(settings: VicregSettings) -> Recipe:
    """The three terms with their weights."""
    weights = {name: getattr(settings, name) for name in ("invariance", "variance", "covariance")}
    return joint_recipe(settings, partial(vicreg, **weights))


def build_logdet(settings: LogdetSettings) -> Recipe:
    """The two terms with their weight."""
    return joint_recipe(settings, partial(logdet, weight=settings.weight))


add_method(
    Method(
        name="barlow-twins",
        line="Dimensions of the embedding agree between views and are uncorrelated with each other.",
        source="thesis 2.2.3.2, 5.5.2 (run); Zbontar et al. 2021",
        family="non-contrastive",
        dims=2,
        settings=BarlowSettings,
        small=small(BarlowSettings(), hidden=64, width=32),
        build=build_barlow,
    )
)

add_method(
    Method(
        name="vicreg",
        line="Views agree, every dimension varies, and dimensions are uncorrelated.",
        source="thesis 2.2.3.2, Table 5.5 (quoted); Bardes et al. 2022",
        family="non-contrastive",
        dims=2,
        settings=VicregSettings,
        small=small(VicregSettings(), hidden=64, width=32),
        build=build_vicreg,
    )
)

add_method(
    Method(
        name="logdet",
        line="Views agree, and the covariance of the embedding is the identity by a measure that forbids collapse.",
        source="thesis Tables 5.5 and 6.10 (quoted); Zhang et al. 2024, our reading",
        family="non-contrastive",
        dims=2,
        settings=LogdetSettings,
        small=small(LogdetSettings(), hidden=64, width=12),
        build=build_logdet,
    )
)
