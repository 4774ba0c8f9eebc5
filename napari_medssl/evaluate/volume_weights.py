"""Encoders of volumes to be looked at as they are: without a slab, on the grid they were trained on."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from napari_medssl.dense.stages import takes_volumes
from napari_medssl.engine.device import DevicePolicy
from napari_medssl.engine.volume_weights import load_encoder
from napari_medssl.errors import WeightsError
from napari_medssl.models.encoder3d import build_encoder3d

ROLE = "encoder3d"
"""Of the encoder in the weights file of a run in 3D; any command that takes volume encoders knows it."""

_FILE = f"{ROLE}.safetensors"


@dataclass(frozen=True, eq=False)
class VolumeWeights:
    """A volume encoder and what is known of it.

    name: as shown to people. kind: registry name of the architecture. encoder: on the policy's device, in eval mode,
    without gradients; others may share it. card: of its file. sha256: of the file, or of how it was made.
    """

    name: str
    kind: str
    encoder: Any
    card: dict[str, Any] = field(default_factory=dict)
    sha256: str = ""
    notes: tuple[str, ...] = ()

    def first_weights(self, seed: int, policy: DevicePolicy) -> VolumeWeights:
        """The same architecture as it is born, for comparison."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            encoder = build_encoder3d(self.kind, **self.encoder.config)
        encoder.requires_grad_(False).to(policy.device)
        return dataclasses.replace(
            self, name=f"{self.kind}, first weights", encoder=encoder, card={}, sha256="", notes=()
        )


def load_volume_weights(weights: str | Path, policy: DevicePolicy) -> VolumeWeights:
    """The volume encoder that `load_encoder` gives for `weights`, or that of the folder of a pretraining run.

    Raises WeightsError when there is none, it is damaged, or it is an encoder of slices.
    """
    folder = Path(weights)
    inside = folder / _FILE
    if folder.is_dir() and not inside.is_file():
        raise WeightsError(f"no {_FILE} in {folder}; give the folder of a finished run of a 3D method, or a file")
    loaded = load_encoder(inside if folder.is_dir() else weights, policy)
    name = folder.absolute().name if folder.is_dir() else loaded.weights
    if not takes_volumes(loaded.encoder):
        raise WeightsError(
            f"{name} holds no encoder of volumes; give weights of a 3D method (medssl pretrain --list). Encoders of "
            "slices are compared by medssl evaluate analyse"
        )
    return VolumeWeights(name, loaded.name, loaded.encoder, loaded.card, loaded.sha256, loaded.notes)
