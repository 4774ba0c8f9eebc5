"""Encoders of volumes to be looked at as they are: without a slab, on the grid they were trained on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from napari_medssl.engine.device import DevicePolicy
from napari_medssl.engine.weights import resolve_weights
from napari_medssl.errors import SettingsError, WeightsError
from napari_medssl.models.bundle import load_bundle, load_module
from napari_medssl.models.encoder3d import build_encoder3d

_ROLES = ("encoder3d", "encoder")  # of a pretraining run, and of weights that ship
_FILE = "encoder3d.safetensors"


@dataclass(frozen=True, eq=False)
class VolumeWeights:
    """A volume encoder and what is known of it.

    name: as shown to people. kind: registry name of the architecture. encoder: on the policy's device, in eval mode,
    without gradients. role: of the module in its file. card: of the file. sha256: of the file, empty without one.
    """

    name: str
    kind: str
    encoder: Any
    role: str = "encoder3d"
    card: dict[str, Any] = field(default_factory=dict)
    sha256: str = ""
    path: Path | None = None
    build: Callable[[], nn.Module] = nn.Module

    def first_weights(self, seed: int, policy: DevicePolicy) -> VolumeWeights:
        """The same architecture as it is born, for comparison."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            encoder = self.build().eval().requires_grad_(False).to(policy.device)
        name = f"{self.kind}, first weights"
        return dataclasses.replace(self, name=name, encoder=encoder, card={}, sha256="", path=None)


def load_volume_weights(weights: str | Path, policy: DevicePolicy) -> VolumeWeights:
    """The volume encoder of a shipped set, of a weights file, or of the folder of a pretraining run.

    Raises WeightsError when there is none, it is damaged, or holds no encoder of volumes.
    """
    folder = Path(weights)
    inside = folder / _FILE
    if folder.is_dir() and not inside.is_file():
        raise WeightsError(
            f"no {_FILE} in {folder}; give the folder of a finished run of a method of volumes, or a file"
        )
    source = resolve_weights(inside if folder.is_dir() else weights)
    name = folder.absolute().name if folder.is_dir() else source.name
    bundle = None if source.path is None else load_bundle(source.path)
    role = None if bundle is None else next((r for r in _ROLES if r in bundle.modules), None)
    if bundle is None or role is None:
        raise _no_volumes(name)
    kind = str(bundle.modules[role]["name"])
    config = dict(bundle.modules[role].get("config", {}))
    encoder = _built(name, kind, config)
    load_module(encoder, bundle.state(role), f"volume encoder {kind!r}")
    encoder.eval().requires_grad_(False).to(policy.device)  # the layout of the policy is for images, not volumes
    return VolumeWeights(
        name, kind, encoder, role, bundle.card, bundle.sha256, source.path, lambda: build_encoder3d(kind, **config)
    )


def _built(name: str, kind: str, config: dict[str, Any]) -> nn.Module:
    try:
        encoder = build_encoder3d(kind, **config)
    except SettingsError as error:
        raise _no_volumes(name) from error
    except (TypeError, ValueError) as error:
        raise WeightsError(f"the volume encoder of {name} cannot be built from its description: {error}") from error
    return encoder


def _no_volumes(name: str) -> WeightsError:
    return WeightsError(
        f"{name} holds no encoder of volumes; give weights of a 3D method (medssl pretrain --list). Encoders of slices "
        "are compared by medssl evaluate analyse"
    )
