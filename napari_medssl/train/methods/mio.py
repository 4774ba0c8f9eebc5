"""The MIO methods of thesis chapter 5."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from napari_medssl.losses.mio import TAU, mio_v1, mio_v2, mio_v3, refuse_low
from napari_medssl.losses.temperature import Constant
from napari_medssl.settings import setting
from napari_medssl.train.method import Method, Recipe, add_method
from napari_medssl.train.methods.ingredients.slice_pairs import PairSettings, pair_recipe, small_pairs


@dataclass(frozen=True)
class MioSettings(PairSettings):
    """One temperature for all three (thesis 5.5.2)."""

    temperature: float = setting(
        TAU.value, "What cosine similarities are divided by; MIOv3 needs 0.1 or more.", ge=0.01, le=10.0
    )


def _build(settings: MioSettings, *, loss: Callable[..., Tensor]) -> Recipe:
    """One of the three losses at a constant temperature; raises SettingsError where MIOv3 would collapse."""
    temperature = Constant(settings.temperature)
    if loss is mio_v3:
        refuse_low(temperature)
    return pair_recipe(settings, partial(loss, temperature=temperature))


_VERSIONS: dict[str, tuple[Callable[..., Tensor], str, str]] = {
    "mio-v1": (
        mio_v1,
        "Tell pairs of one slice from others, both kinds weighing the same.",
        "thesis 5.4.1, Eq. 5.12",
    ),
    "mio-v2": (
        mio_v2,
        "MIOv1 without what pushes views of one slice apart.",
        "thesis 5.4.2, Eq. 5.15",
    ),
    "mio-v3": (
        mio_v3,
        "MIOv2 that pushes other slices away more strongly; the version proposed.",
        "thesis 5.4.3, Eq. 5.21",
    ),
}

for _name, (_loss, _line, _source) in _VERSIONS.items():
    add_method(
        Method(
            name=_name,
            line=_line,
            source=_source,
            family="contrastive",
            dims=2,
            settings=MioSettings,
            small=small_pairs(MioSettings()),
            build=partial(_build, loss=_loss),
        )
    )
