"""Pieces of volumes: the settings, encoder and recipe of every method that looks at them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from napari_medssl.models.encoder3d import build_encoder3d
from napari_medssl.models.unet3d import Norm, UNet3dEncoder
from napari_medssl.pretext.task import Task
from napari_medssl.settings import setting
from napari_medssl.train.method import Recipe
from napari_medssl.train.objective import Objective
from napari_medssl.train.run_settings import RunSettings

ENCODER = "unet3d"
"""Registry name of the encoder of paper 002 (S67)."""


@dataclass(frozen=True)
class VolumeSettings:
    """Input, encoder and run of a method on volumes; the published input is 64 x 64 x 32 (height, width, depth)."""

    crop_z: int = setting(32, "Voxels along z that the encoder sees at once; a multiple of 8.", ge=8, le=512)
    crop_y: int = setting(64, "Voxels along y that the encoder sees at once; a multiple of 8.", ge=8, le=512)
    crop_x: int = setting(64, "Voxels along x that the encoder sees at once; a multiple of 8.", ge=8, le=512)
    spacing_mm: float = setting(2.0, "Side of a voxel that scans are resampled to; 0: as they are.", ge=0.0, le=20.0)
    width: float = setting(0.5, "Factor of the encoder's channels; 1 is the published network.", ge=0.03, le=4.0)
    norm: Norm = setting("batch", "Normalisation; batch is published, group is for batches of one or two.")
    run: RunSettings = field(default_factory=RunSettings)

    @property
    def crop(self) -> tuple[int, int, int]:
        """Voxels along z, y and x."""
        return self.crop_z, self.crop_y, self.crop_x

    def encoder_config(self) -> dict[str, Any]:
        """What the encoder is built from."""
        return {"width": self.width, "norm": self.norm}


S = TypeVar("S", bound=VolumeSettings)


def volume_encoder(settings: VolumeSettings) -> UNet3dEncoder:
    """A new encoder as the settings say, ready to train."""
    encoder = build_encoder3d(ENCODER, **settings.encoder_config()).train()
    assert isinstance(encoder, UNet3dEncoder)
    return encoder


def volume_recipe(task: Task, objective: Objective) -> Recipe:
    """The method with this task and objective, whose encoder is that of `volume_encoder`."""
    return Recipe(task, objective, ENCODER, role="encoder3d")


def small_volumes(settings: S, *, crop: tuple[int, int, int], batch: int = 8, **changes: Any) -> S:
    """The same method with a narrow encoder, small crops (z, y, x), small batches and `changes`."""
    z, y, x = crop
    run = replace(settings.run, steps=200, batch=batch)
    return replace(settings, crop_z=z, crop_y=y, crop_x=x, width=0.125, run=run, **changes)
