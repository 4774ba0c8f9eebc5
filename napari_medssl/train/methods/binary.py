"""Binary contrastive learning of thesis chapter 4, alone and combined with InfoNCE."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from napari_medssl.losses.binary import TAU, TAU_CONTR, Reduction, binary_contrastive, combo
from napari_medssl.losses.temperature import Constant
from napari_medssl.settings import setting
from napari_medssl.train.method import Method, Recipe, add_method
from napari_medssl.train.methods.ingredients.slice_pairs import Chapter4Settings, pair_recipe, small_pairs

_REDUCTION = (
    "pairs: mean over all pairs; printed: divided by 4 N^2; balanced: positive and negative pairs weigh the same."
)


@dataclass(frozen=True)
class BinarySettings(Chapter4Settings):
    """L_Proposed: models 1 and 2 of thesis Table 4.2."""

    temperature: float = setting(TAU.value, "What cosine similarities are divided by.", ge=0.01, le=10.0)
    reduction: Reduction = setting("pairs", _REDUCTION, advanced=True)


@dataclass(frozen=True)
class ComboSettings(BinarySettings):
    """L_Combo: models 3 to 5 of thesis Table 4.2."""

    reduction: Reduction = setting("balanced", _REDUCTION, advanced=True)
    contr_temperature: float = setting(
        TAU_CONTR.value, "What squared distances are divided by in the InfoNCE part.", ge=0.01, le=10.0
    )
    combo_weight: float = setting(1.0, "Weight of the InfoNCE part.", ge=0.0, le=100.0)


def build_binary(settings: BinarySettings) -> Recipe:
    """Is a pair of one slice?"""
    temperature = Constant(settings.temperature)
    return pair_recipe(settings, partial(binary_contrastive, temperature=temperature, reduction=settings.reduction))


def build_combo(settings: ComboSettings) -> Recipe:
    """The binary loss and the Euclidean InfoNCE."""
    loss = partial(
        combo,
        temperature=Constant(settings.temperature),
        contr_temperature=Constant(settings.contr_temperature),
        weight=settings.combo_weight,
        reduction=settings.reduction,
    )
    return pair_recipe(settings, loss)


add_method(
    Method(
        name="binary",
        line="Is a pair of views of the same slice, yes or no? For every pair of the batch.",
        source="thesis 4.4.1, Eq. 4.14",
        family="contrastive",
        dims=2,
        settings=BinarySettings,
        small=small_pairs(BinarySettings()),
        build=build_binary,
    )
)

add_method(
    Method(
        name="combo",
        line="Binary contrastive learning plus InfoNCE on squared distances.",
        source="thesis 4.4.1.2, Eq. 4.17 and 4.18",
        family="contrastive",
        dims=2,
        settings=ComboSettings,
        small=small_pairs(ComboSettings()),
        build=build_combo,
    )
)
