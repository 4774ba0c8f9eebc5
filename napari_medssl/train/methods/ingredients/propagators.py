"""The networks of the methods that carry masks, from what a user writes or from a weights file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from napari_medssl.errors import WeightsError
from napari_medssl.models.bundle import Bundle, load_bundle, load_module
from napari_medssl.models.propagator import build_propagator
from napari_medssl.train.episodes.rehearsals import Cast
from napari_medssl.train.methods.ingredients.options import built_with


def propagator_from(name: str, options: str, **more: Any) -> Any:
    """The propagator `name` with arguments given as JSON; raises SettingsError when they do not fit it."""
    return built_with(build_propagator, "propagator_options", name, options, example='{"crop_size": 96}', **more)


def carriers_in(path: Path) -> Bundle:
    """The weights file, which must hold a propagator; raises WeightsError when it does not."""
    bundle = load_bundle(path)
    if "propagator" not in bundle.modules:
        raise WeightsError(f"{path} holds no propagator, only: {', '.join(bundle.modules)}; give weights that have one")
    return bundle


def carrier(bundle: Bundle, role: str) -> nn.Module | None:
    """Its propagator or reviser in eval mode; None when it has none."""
    if role not in bundle.modules:
        return None
    name, config = bundle.modules[role]["name"], bundle.modules[role]["config"]
    return load_module(build_propagator(name, **config), bundle.state(role), role)


def cast_of(bundle: Bundle) -> Cast:
    """The propagator of a bundle, and the reviser if it has one, to give the answers of rehearsals."""
    propagator, reviser = carrier(bundle, "propagator"), carrier(bundle, "reviser")
    assert propagator is not None  # `carriers_in` has looked
    return Cast(propagator.requires_grad_(False), None if reviser is None else reviser.requires_grad_(False))
