"""A pretraining run opened again: its task, and its networks with the heads that are not kept in the weights file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from napari_medssl.errors import SettingsError, WeightsError
from napari_medssl.models.bundle import file_sha256
from napari_medssl.settings import from_dict
from napari_medssl.train.checkpoint import model_state, read_run
from napari_medssl.train.method import Method, Recipe, find_method
from napari_medssl.train.trainer import build_recipe

STATE = "state.safetensors"
_BESIDE = ("method", "data")  # what a run keeps among its settings that is none of them


@dataclass(frozen=True, eq=False)
class OpenedRun:
    """A run as it was when it was saved last.

    path: of its state file. recipe: task and objective, whose networks hold the stored weights, in eval mode, without
    gradients. step: optimiser steps that were done.
    """

    path: Path
    method: Method
    settings: Any
    recipe: Recipe
    step: int
    sha256: str

    @property
    def name(self) -> str:
        """For people: the method and the folder."""
        return f"{self.method.name} ({self.path.absolute().parent.name})"


def open_run(path: Path, *, device: torch.device | str = "cpu") -> OpenedRun:
    """The run in a folder that `medssl pretrain` has written, or of its state file.

    Raises WeightsError when there is none, it is damaged, or it was made by a method or with settings that this version
    does not know.
    """
    file = path / STATE if path.is_dir() else path
    if not file.is_file():
        raise WeightsError(
            f"no {STATE} in {path}; give the folder that medssl pretrain wrote: the weights file beside it has the "
            "encoder alone, and the heads of the pretext task are in the state"
            if path.is_dir()
            else f"no state of a run at {path}; give the folder that medssl pretrain wrote"
        )
    state, tensors = read_run(file)
    try:
        method = find_method(str(state.settings.get("method")))
        settings = from_dict(method.settings, _nested(state.settings))
        recipe = build_recipe(method, settings)
        recipe.objective.load_state_dict(model_state(tensors))
    except (SettingsError, RuntimeError) as error:
        raise WeightsError(f"{file} was written by another version of napari-medssl: {error}") from error
    recipe.objective.eval().requires_grad_(False).to(device)
    return OpenedRun(file, method, settings, recipe, state.step, file_sha256(file))


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted names to groups, without what is no setting."""
    values: dict[str, Any] = {}
    for name, value in flat.items():
        *groups, last = name.split(".")
        inner = values
        for group in groups:
            inner = inner.setdefault(group, {})
        if name not in _BESIDE:
            inner[last] = value
    return values
