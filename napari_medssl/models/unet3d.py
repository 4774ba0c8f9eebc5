"""The 3D U-Net of the benchmark: its encoder, and its decoder with or without skip connections."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_medssl.models.encoder3d import check_grid, volume_encoders

Norm: TypeAlias = Literal["batch", "group"]

_FIRST = 32  # channels of the very first convolution at width 1


@volume_encoders.register("unet3d")
class UNet3dEncoder(nn.Module):
    """Four stages of two 3x3x3 convolutions, 64, 128, 256 and 512 channels, with max pooling by 2 between them.

    Input (B, in_channels, Z, Y, X) in [0, 1], sides multiples of 8; output (B, channels, Z / 8, Y / 8, X / 8).
    Stage d has a convolution to 32 * 2^d and one to 64 * 2^d channels, each with normalisation and ReLU.

    width: factor of all channel numbers, 1 as published; rounded so that stages still double.
    norm: "batch" as published; "group" (up to 8 groups) for batches of one or two.
    stage_channels: channels of the four stages.

    Raises GeometryError for a volume whose sides are not multiples of 8.

    Source: paper 002, section 5 and Fig. 5, which leave the channels to their supplement. The convolutions here have no
    bias, for a normalisation that subtracts the mean follows each; the function is the same.
    """

    stride = 8

    def __init__(self, *, in_channels: int = 1, width: float = 1.0, norm: Norm = "batch") -> None:
        super().__init__()
        first = max(1, round(_FIRST * width))
        self.in_channels, self.channels = in_channels, 16 * first
        self.stage_channels = tuple(2 * first * 2**d for d in range(4))
        self.norm: Norm = norm
        self.config: dict[str, Any] = {"in_channels": in_channels, "width": width, "norm": norm}
        inputs = (in_channels, *self.stage_channels[:3])
        self.blocks = nn.ModuleList(
            nn.Sequential(*_conv(i, c // 2, norm), *_conv(c // 2, c, norm))
            for i, c in zip(inputs, self.stage_channels, strict=True)
        )

    def stages(self, volume: Tensor) -> list[Tensor]:
        """Grids of the four stages: (B, 64 * 2^d, Z / 2^d, Y / 2^d, X / 2^d) for d = 0..3 at width 1."""
        check_grid(volume, self.stride)
        found: list[Tensor] = []
        x = volume
        for block in self.blocks:
            x = block(F.max_pool3d(x, 2) if found else x)
            found.append(x)
        return found

    def forward(self, volume: Tensor) -> Tensor:
        return self.stages(volume)[-1]


class UNet3dDecoder(nn.Module):
    """The way back up: 256, 128 and 64 channels at width 1, then a 1x1x1 head.

    Takes the encoder's four stages and gives (B, out_channels, Z, Y, X) without an activation. Each step up is a
    2x2x2 transposed convolution that keeps the channels and two 3x3x3 convolutions to the channels of the finer stage.

    encoder: read for its channels and its normalisation only; it does not become part of this module.
    skip: True joins the encoder's grid of the same size to the up-sampled one; False takes the up-sampled one alone.

    Source: paper 002, section 5.1 (skip connections let a reconstruction task pass details by the deep features).
    """

    def __init__(self, encoder: UNet3dEncoder, out_channels: int, *, skip: bool = True) -> None:
        super().__init__()
        self.skip = skip
        fine_to_deep = encoder.stage_channels
        self.ups = nn.ModuleList()
        self.blocks = nn.ModuleList()
        for deep, fine in zip(fine_to_deep[:0:-1], fine_to_deep[-2::-1], strict=True):
            self.ups.append(nn.ConvTranspose3d(deep, deep, 2, 2))
            joined = deep + fine if skip else deep
            self.blocks.append(nn.Sequential(*_conv(joined, fine, encoder.norm), *_conv(fine, fine, encoder.norm)))
        self.head = nn.Conv3d(fine_to_deep[0], out_channels, 1)

    def forward(self, stages: Sequence[Tensor]) -> Tensor:
        x = stages[-1]
        for up, block, finer in zip(self.ups, self.blocks, stages[-2::-1], strict=True):
            x = up(x)
            x = block(torch.cat([x, finer], 1) if self.skip else x)
        out: Tensor = self.head(x)
        return out


def _conv(inputs: int, outputs: int, norm: Norm) -> tuple[nn.Module, nn.Module, nn.Module]:
    normalise = nn.BatchNorm3d(outputs) if norm == "batch" else nn.GroupNorm(math.gcd(8, outputs), outputs)
    return nn.Conv3d(inputs, outputs, 3, padding=1, bias=False), normalise, nn.ReLU(inplace=True)
