"""What a slice encoder is: an image with its neighbours in, a grid of feature vectors out."""

from __future__ import annotations

import importlib
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from napari_medssl.registry import Registry


@runtime_checkable
class Encoder(Protocol):
    """A 2D (or 2.5D) encoder of slices.

    in_slices: neighbouring slices stacked as input channels (odd; the middle one is encoded).
    channels: length D of a feature vector.
    stride: input pixels per feature cell.
    config: everything its factory needs to build it again (plain JSON values).

    Calling it maps (B, in_slices, H, W) float32 in [0, 1] to (B, channels, H / stride, W / stride);
    H and W are multiples of `stride`.
    """

    in_slices: int
    channels: int
    stride: int
    config: dict[str, Any]

    def __call__(self, slices: Tensor) -> Tensor: ...


encoders: Registry[Any] = Registry("encoder")
"""Factories `(**config) -> torch.nn.Module` obeying `Encoder`; registered by the modules of this package."""


_HOMES = ("feature_bank", "resnet", "skid", "slice_encoder", "sslacl", "vit")


def build_encoder(name: str, **config: Any) -> torch.nn.Module:
    """The registered encoder `name`, in eval mode, with untrained weights.

    Raises SettingsError, which lists the known names, when there is none of that name.
    """
    if name not in encoders:  # a module registers its encoder when it is imported, which may not have happened yet
        for home in _HOMES:
            importlib.import_module(f"napari_medssl.models.{home}")
    module: torch.nn.Module = encoders[name](**config)
    return module.eval()
