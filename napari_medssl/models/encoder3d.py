"""What a volume encoder is: a piece of a scan in, a coarser grid of feature vectors out."""

from __future__ import annotations

import importlib
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from napari_medssl.errors import GeometryError
from napari_medssl.registry import Registry


@runtime_checkable
class VolumeEncoder(Protocol):
    """A 3D encoder.

    in_channels: channels of the input (1 for a scan).
    channels: length C of a feature vector of the deepest stage.
    stride: voxels per feature cell of the deepest stage, the same along z, y and x.
    config: everything its factory needs to build it again (plain JSON values).

    Calling it maps (B, in_channels, Z, Y, X) float32 in [0, 1] to (B, channels, Z / stride, Y / stride, X / stride);
    Z, Y and X are multiples of `stride`.
    """

    in_channels: int
    channels: int
    stride: int
    config: dict[str, Any]

    def __call__(self, volume: Tensor) -> Tensor: ...

    def stages(self, volume: Tensor) -> list[Tensor]:
        """The feature grids after each of the four stages, first to deepest; the last is what a call gives."""
        ...


volume_encoders: Registry[Any] = Registry("volume encoder")
"""Factories `(**config) -> torch.nn.Module` obeying `VolumeEncoder`; registered by the modules of this package."""


_HOMES = {"medicalnet": "medicalnet", "unet3d": "unet3d", "vit3d": "vit"}  # names and their modules


def build_encoder3d(name: str, **config: Any) -> torch.nn.Module:
    """The registered volume encoder `name`, in eval mode, with untrained weights.

    Raises SettingsError, which lists the known names, when there is none of that name.
    """
    # A module registers its encoder when it is imported; the others, which may load MONAI, stay away.
    for home in [_HOMES[name]] if name in _HOMES else _HOMES.values():
        importlib.import_module(f"napari_medssl.models.{home}")
    module: torch.nn.Module = volume_encoders[name](**config)
    return module.eval()


def check_grid(image: Tensor, stride: int) -> None:
    """Raise GeometryError when a side of a (B, C, ...) image is not a positive multiple of `stride`."""
    if any(side == 0 or side % stride for side in image.shape[2:]):
        sides = " x ".join(map(str, image.shape[2:]))
        axes = "z y x" if image.ndim == 5 else "y x"
        raise GeometryError(f"the input has {sides} voxels ({axes}); crop or pad every side to a multiple of {stride}")
