"""DySTreSS of thesis chapter 6: a temperature that depends on the similarity of each pair."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeAlias

from torch import Tensor

from napari_medssl.losses.dcl import dcl
from napari_medssl.losses.infonce import info_nce
from napari_medssl.losses.temperature_profiles import make_profile
from napari_medssl.settings import setting
from napari_medssl.train.method import Method, Recipe, add_method
from napari_medssl.train.methods.ingredients.slice_pairs import PairSettings, pair_recipe, small_pairs

ProfileName: TypeAlias = Literal[
    "cosine", "linear", "exponential", "exponential-normalised", "shifted", "sm1a", "sm1b", "sm2a", "sm2b", "sm3",
    "moved-minimum", "ode",
]  # fmt: skip


@dataclass(frozen=True)
class DystressSettings(PairSettings):
    """The cosine profile from 0.1 to 0.2; small natural images liked 0.07 to 0.2 (B6-17)."""

    profile: ProfileName = setting(
        "cosine",
        "Temperature over cosine similarity: cosine is the published one, sm2a or sm2b moves its valley to the left.",
    )
    lowest: float = setting(0.1, "Lowest temperature, of unrelated slices.", ge=0.01, le=10.0)
    highest: float = setting(0.2, "Highest temperature, of like and opposite slices.", ge=0.01, le=10.0)
    shift: float = setting(
        -0.2,
        "shifted: the shift of the thesis' Algorithm 6.1; moved-minimum: the cosine of the lowest temperature.",
        ge=-0.99,
        le=0.99,
        advanced=True,
    )
    strength: float = setting(0.5, "ode: the product of the thesis' delta and K.", ge=0.0, le=1e6, advanced=True)
    attach: bool = setting(
        False, "Let the gradient run through the temperature, as in the thesis' derivation.", advanced=True
    )


def _build(settings: DystressSettings, *, loss: Callable[..., Tensor]) -> Recipe:
    """`loss` with the chosen profile; raises SettingsError when the profile is not positive throughout."""
    profile = make_profile(
        settings.profile,
        settings.lowest,
        settings.highest,
        shift=settings.shift,
        strength=settings.strength,
        attach=settings.attach,
    )
    return pair_recipe(settings, partial(loss, temperature=profile))


add_method(
    Method(
        name="dystress",
        line="SimCLR with a temperature for each pair, lowest for unrelated slices.",
        source="thesis 6.4.2, Eq. 6.16 and Alg. 6.1",
        family="contrastive",
        dims=2,
        settings=DystressSettings,
        small=small_pairs(DystressSettings()),
        build=partial(_build, loss=info_nce),
    )
)

add_method(
    Method(
        name="dystress-dcl",
        line="DCL with a temperature for each pair, lowest for unrelated slices.",
        source="thesis 6.5.3; Yeh et al. 2022",
        family="contrastive",
        dims=2,
        settings=DystressSettings,
        small=small_pairs(DystressSettings()),
        build=partial(_build, loss=dcl),
    )
)
