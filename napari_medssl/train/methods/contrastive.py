"""SimCLR, DCL, DCLW and MACL: the partner among all other views of the batch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

from napari_medssl.losses.dcl import DCLW_SIGMA, dcl, dclw
from napari_medssl.losses.infonce import info_nce
from napari_medssl.losses.macl import macl
from napari_medssl.losses.temperature import AlignmentTemperature, Constant, CosineSchedule
from napari_medssl.settings import setting
from napari_medssl.train.method import Method, Recipe, add_method
from napari_medssl.train.methods.ingredients.slice_pairs import PairSettings, pair_recipe, small_pairs
from napari_medssl.train.objectives.pair import PairLoss

_TEMPERATURE = "What cosine similarities are divided by; lower repels similar slices more."


@dataclass(frozen=True)
class DclSettings(PairSettings):
    """DCL at the temperature the thesis takes (5.5.2)."""

    temperature: float = setting(0.1, _TEMPERATURE, ge=0.01, le=10.0)


@dataclass(frozen=True)
class SimclrSettings(DclSettings):
    """SimCLR at the same temperature, or with one that swings over the run (Kukleva et al., 2023)."""

    schedule: Literal["constant", "cosine"] = setting(
        "constant", "cosine: the temperature swings between `temperature` and `highest` over the run."
    )
    highest: float = setting(1.0, "Highest temperature of the cosine schedule.", ge=0.01, le=10.0, advanced=True)
    periods: float = setting(5.0, "Swings of the cosine schedule over the run.", ge=0.01, le=1000.0, advanced=True)


@dataclass(frozen=True)
class DclwSettings(DclSettings):
    """DCLW: DCL with weights."""

    sigma: float = setting(DCLW_SIGMA, "Width of the weights of distant partners.", ge=0.01, le=100.0, advanced=True)


@dataclass(frozen=True)
class MaclSettings(PairSettings):
    """MACL with the values of Huang et al. (2023); the thesis has none."""

    temperature: float = setting(0.1, "Temperature at the alignment `start`.", ge=0.03, le=10.0)
    alpha: float = setting(0.5, "How much the temperature follows the alignment.", ge=0.0, le=1.0)
    start: float = setting(0.0, "Mean cosine of partners at which the temperature is as set.", ge=-1.0, le=1.0)
    reweight: bool = setting(True, "Undo the fading of gradients of certain partners.", advanced=True)


def build_simclr(settings: SimclrSettings) -> Recipe:
    """InfoNCE at a constant temperature or one for each moment of the run."""
    if settings.schedule == "constant":
        return pair_recipe(settings, partial(info_nce, temperature=Constant(settings.temperature)))
    swing = CosineSchedule(settings.temperature, settings.highest, settings.periods)

    def loss_at(share: float) -> PairLoss:
        return partial(info_nce, temperature=swing.at(share))

    return pair_recipe(settings, loss_at(0.0), schedule=loss_at)


def build_dcl(settings: DclSettings) -> Recipe:
    """DCL at a constant temperature."""
    return pair_recipe(settings, partial(dcl, temperature=Constant(settings.temperature)))


def build_dclw(settings: DclwSettings) -> Recipe:
    """DCLW at a constant temperature."""
    return pair_recipe(settings, partial(dclw, temperature=Constant(settings.temperature), sigma=settings.sigma))


def build_macl(settings: MaclSettings) -> Recipe:
    """An alignment-adaptive temperature, with or without the weights."""
    temperature = AlignmentTemperature(settings.temperature, settings.alpha, settings.start)
    return pair_recipe(settings, partial(macl if settings.reweight else info_nce, temperature=temperature))


add_method(
    Method(
        name="simclr",
        line="Find the other view of a slice among all views of the batch (InfoNCE).",
        source="thesis 4.2, Eq. 4.2 and 6.1; Chen et al. 2020",
        family="contrastive",
        dims=2,
        settings=SimclrSettings,
        small=small_pairs(SimclrSettings()),
        build=build_simclr,
    )
)

add_method(
    Method(
        name="dcl",
        line="SimCLR without the positive pair in the denominator; good with small batches.",
        source="thesis 5.5.2 (run); Yeh et al. 2022",
        family="contrastive",
        dims=2,
        settings=DclSettings,
        small=small_pairs(DclSettings()),
        build=build_dcl,
    )
)

add_method(
    Method(
        name="dclw",
        line="DCL that pulls more at views of one slice that are far apart.",
        source="thesis 5.5.2 (run); Yeh et al. 2022",
        family="contrastive",
        dims=2,
        settings=DclwSettings,
        small=small_pairs(DclwSettings()),
        build=build_dclw,
    )
)

add_method(
    Method(
        name="macl",
        line="SimCLR with a temperature that rises as views of one slice come together.",
        source="thesis 6.5 (run); Huang et al. 2023",
        family="contrastive",
        dims=2,
        settings=MaclSettings,
        small=small_pairs(MaclSettings()),
        build=build_macl,
    )
)
