"""Networks that restore hidden patches: by a transformer that sees the others alone, or by any encoder."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from napari_medssl.models.patch_head import PatchHead, cells_to_image
from napari_medssl.models.positions import sine_positions
from napari_medssl.models.vit import PatchTransformer, transformer_blocks


class MaskedAutoencoder(nn.Module):
    """A transformer on the visible patches and a light one on all of them, which restores the image.

    (B, C, *sides) images and (B, V) int64 numbers of the visible patches to (B, C, *sides) images; what the hidden
    patches hold has no influence. In two or three dimensions, as the encoder.

    channels, depth, heads: of the decoder, which is thrown away after training.

    Source: He et al., 2022; guide 001, masked image modelling (S90). MONAI's network of that name draws its mask by
    itself, without a generator one could give, and needs a further package; this one is told what is visible.
    """

    def __init__(self, encoder: PatchTransformer, *, channels: int = 128, depth: int = 4, heads: int = 0) -> None:
        super().__init__()
        self.encoder, self.channels = encoder, channels
        self.enter = nn.Linear(encoder.channels, channels)
        self.hidden = nn.Parameter(torch.empty(1, 1, channels))
        nn.init.trunc_normal_(self.hidden, std=0.02)
        self.blocks = nn.Sequential(*transformer_blocks(channels, depth, heads), nn.LayerNorm(channels))
        self.head = nn.Linear(channels, encoder.in_channels * encoder.stride ** len(encoder.size))
        nn.init.trunc_normal_(self.head.weight, std=0.02)  # starts from black, not from loud noise
        nn.init.zeros_(self.head.bias)

    def forward(self, image: Tensor, visible: Tensor) -> Tensor:
        seen = self.enter(self.encoder.visible(image, visible))
        grid = self.encoder.grid(image)
        codes = sine_positions(grid, grid, self.channels, device=image.device).to(seen.dtype)
        tokens = self.hidden.to(seen.dtype).expand(len(image), len(codes), -1)
        tokens = tokens.scatter(1, visible[:, :, None].expand(-1, -1, self.channels), seen)
        cells = self.head(self.blocks(tokens + codes)).transpose(1, 2).unflatten(2, grid)
        return cells_to_image(cells, self.encoder.stride)


class MaskedImageModel(nn.Module):
    """Any encoder with a linear head; hidden voxels are replaced by one learned grey.

    (B, C, *sides) images and (B, 1, *sides) weights, 1 where hidden, to (B, C, *sides) images.

    encoder: of slices or volumes, with `channels` and `stride`. inputs: C. dims: 2 or 3.

    Source: Xie et al., 2022 (SimMIM), for convolutional encoders; the same masks and loss as `MaskedAutoencoder`. A
    dense convolution runs over hidden voxels too, unlike the sparse one of guide 001 (S91).
    """

    def __init__(self, encoder: Any, inputs: int, *, dims: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.grey = nn.Parameter(torch.full((1, inputs, *[1] * dims), 0.5))
        self.head = PatchHead(encoder.channels, inputs, stride=encoder.stride, dims=dims)

    def forward(self, image: Tensor, weight: Tensor) -> Tensor:
        out: Tensor = self.head(self.encoder(torch.lerp(image, self.grey.to(image.dtype), weight.to(image.dtype))))
        return out
