"""What every method on volumes is asked: what its encoder sees, and how wide it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from napari_medssl.models.encoder3d import build_encoder3d
from napari_medssl.models.unet3d import Norm, UNet3dEncoder
from napari_medssl.settings import setting

ENCODER = "unet3d"
"""Registry name of the encoder of paper 002 (S67)."""


@dataclass(frozen=True)
class VolumeSettings:
    """Input and encoder of a method on volumes; the published input is 64 x 64 x 32 (height, width, depth)."""

    crop_z: int = setting(32, "Voxels along z that the encoder sees at once; a multiple of 8.", ge=8, le=512)
    crop_y: int = setting(64, "Voxels along y that the encoder sees at once; a multiple of 8.", ge=8, le=512)
    crop_x: int = setting(64, "Voxels along x that the encoder sees at once; a multiple of 8.", ge=8, le=512)
    spacing_mm: float = setting(2.0, "Side of a voxel that scans are resampled to; 0: as they are.", ge=0.0, le=20.0)
    width: float = setting(0.5, "Factor of the encoder's channels; 1 is the published network.", ge=0.03, le=4.0)
    norm: Norm = setting("batch", "Normalisation; batch is published, group is for batches of one or two.")

    @property
    def crop(self) -> tuple[int, int, int]:
        """Voxels along z, y and x."""
        return self.crop_z, self.crop_y, self.crop_x

    def encoder_config(self) -> dict[str, Any]:
        """What the encoder is built from."""
        return {"width": self.width, "norm": self.norm}


def volume_encoder(settings: VolumeSettings) -> UNet3dEncoder:
    """A new encoder as the settings say, ready to train."""
    encoder = build_encoder3d(ENCODER, **settings.encoder_config()).train()
    assert isinstance(encoder, UNet3dEncoder)
    return encoder
