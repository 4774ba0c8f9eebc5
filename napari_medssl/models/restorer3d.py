"""A volume restored by a U-Net: from voxels to voxels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from napari_medssl.models.unet3d import UNet3dDecoder, UNet3dEncoder


class Restorer3d(nn.Module):
    """Encoder, decoder and a sigmoid: (B, 1, Z, Y, X) to the same in [0, 1].

    skip: whether the decoder sees the finer grids of the encoder; without, everything has to pass the deepest one,
    which transferred better from Models Genesis (paper 002, Table 4).
    """

    def __init__(self, encoder: UNet3dEncoder, *, skip: bool = True) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = UNet3dDecoder(encoder, encoder.in_channels, skip=skip)

    def forward(self, volume: Tensor) -> Tensor:
        return torch.sigmoid(self.decoder(self.encoder.stages(volume)))
