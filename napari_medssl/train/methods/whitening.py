"""W-MSE, ZeroCL and ARB: the embedding is whitened before views are compared."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

from napari_medssl.errors import SettingsError
from napari_medssl.losses.arb import arb
from napari_medssl.losses.w_mse import w_mse
from napari_medssl.losses.zero_cl import zero_cl, zero_fcl, zero_icl
from napari_medssl.models.heads import mlp
from napari_medssl.settings import setting
from napari_medssl.train.method import Method, Recipe, add_method
from napari_medssl.train.methods.ingredients.joint_views import LARGE_AT_128, WideSettings, joint_recipe
from napari_medssl.train.methods.ingredients.slice_views import WIDTH, SliceViewSettings, encoder_of, small, views_of
from napari_medssl.train.objectives.joint import JointObjective
from napari_medssl.train.run_settings import OptimSettings, RunSettings

_SHRINK = "Share of the identity mixed into a covariance before it is inverted."


@dataclass(frozen=True)
class WmseSettings(SliceViewSettings):
    """W-MSE with the published head and optimiser; 64 dimensions in parts of 128 rows, as for small images."""

    part: int = setting(128, "Rows whitened together, about twice the width; 0: the whole batch.", ge=0, le=65536)
    hidden: int = setting(1024, "Width of the projector's hidden layer.", ge=2, le=16384, advanced=True)
    width: int = setting(64, "Length of a projected vector; less than a part.", ge=2, le=4096, advanced=True)
    run: RunSettings = field(
        default_factory=lambda: RunSettings(
            batch=128,
            optim=OptimSettings(name="adam", learning_rate=2e-3, schedule="cosine", warmup=0.02, weight_decay=1e-6),
        )
    )


@dataclass(frozen=True)
class ZeroSettings(WideSettings):
    """ZeroFCL and ZeroCL: 2048 wide (thesis Table 5.5), with the thesis' optimiser for large images."""

    shrink: float = setting(0.1, _SHRINK, ge=0.001, le=1.0, advanced=True)
    run: RunSettings = field(default_factory=lambda: RunSettings(batch=128, optim=LARGE_AT_128))


@dataclass(frozen=True)
class ZeroIclSettings(ZeroSettings):
    """ZeroICL: 256 wide (thesis Table 5.5); more than the batch has images."""

    width: int = setting(256, WIDTH, ge=2, le=16384, advanced=True)


@dataclass(frozen=True)
class ArbSettings(ZeroSettings):
    """ARB: 2048 wide (thesis Table 5.5), in groups of half the batch."""

    shrink: float = setting(1e-4, _SHRINK, ge=0.0, le=1.0, advanced=True)
    group: int = setting(64, "Features per base: divides the width, less than the batch; 0: all.", ge=0, le=16384)


def build_wmse(settings: WmseSettings) -> Recipe:
    """Two-layer projector."""
    rows = min(settings.part or settings.run.batch, settings.run.batch // settings.run.accumulate)
    if rows <= settings.width:
        raise SettingsError(
            f"w-mse would whiten {rows} rows of {settings.width} numbers; make width smaller than part and batch"
        )
    encoder = encoder_of(settings)
    projector = mlp([encoder.channels, settings.hidden, settings.width])
    objective = JointObjective(encoder, projector, partial(w_mse, part=settings.part))
    return Recipe(views_of(settings, encoder), objective, settings.encoder)


def build_zero_icl(settings: ZeroSettings) -> Recipe:
    """Whitening over the instances."""
    return joint_recipe(settings, partial(zero_icl, shrink=settings.shrink))


def build_zero_fcl(settings: ZeroSettings) -> Recipe:
    """Whitening over the features."""
    return joint_recipe(settings, partial(zero_fcl, shrink=settings.shrink))


def build_zero_cl(settings: ZeroSettings) -> Recipe:
    """Whitening over both."""
    return joint_recipe(settings, partial(zero_cl, shrink=settings.shrink))


def build_arb(settings: ArbSettings) -> Recipe:
    """Features go into groups in a new order for each batch, or groups would not know of each other."""
    size = settings.group or settings.width
    if settings.width % size or size >= settings.run.batch // settings.run.accumulate:
        raise SettingsError(
            f"group is {settings.group} for a width of {settings.width} and a batch of {settings.run.batch}; "
            "choose a divisor of the width that is less than the batch"
        )
    loss = partial(arb, group=settings.group, shrink=settings.shrink)
    return joint_recipe(settings, loss, shuffled=size < settings.width)


add_method(
    Method(
        name="w-mse",
        line="Views agree after their embeddings have been whitened over the batch.",
        source="thesis 2.2.3.2, Table 6.4 (run); Ermolov et al. 2021",
        family="non-contrastive",
        dims=2,
        settings=WmseSettings,
        small=small(WmseSettings(), part=0, hidden=64, width=6),
        build=build_wmse,
    )
)

add_method(
    Method(
        name="zero-icl",
        line="Views agree after the images of the batch have been whitened against each other.",
        source="thesis Tables 5.5 and 6.10 (quoted); Zhang et al. 2022a, from its public code",
        family="non-contrastive",
        dims=2,
        settings=ZeroIclSettings,
        small=small(ZeroIclSettings(), hidden=64, width=32),
        build=build_zero_icl,
    )
)

add_method(
    Method(
        name="zero-fcl",
        line="Views agree after the features have been whitened against each other.",
        source="thesis Tables 5.5 and 6.10 (quoted); Zhang et al. 2022a, from its public code",
        family="non-contrastive",
        dims=2,
        settings=ZeroSettings,
        small=small(ZeroSettings(), hidden=64, width=32),
        build=build_zero_fcl,
    )
)

add_method(
    Method(
        name="zero-cl",
        line="ZeroICL and ZeroFCL together.",
        source="thesis 2.2.3.2, Tables 5.5 and 6.10 (quoted); Zhang et al. 2022a, from its public code",
        family="non-contrastive",
        dims=2,
        settings=ZeroSettings,
        small=small(ZeroSettings(), hidden=64, width=32),
        build=build_zero_cl,
    )
)

add_method(
    Method(
        name="arb",
        line="Features of one view are aligned with the orthonormal base nearest to those of the other.",
        source="thesis 2.2.3.2, Tables 5.5 and 6.10 (quoted); Zhang et al. 2022b, from its public code",
        family="non-contrastive",
        dims=2,
        settings=ArbSettings,
        small=small(ArbSettings(), hidden=64, width=32, group=8),
        build=build_arb,
    )
)
