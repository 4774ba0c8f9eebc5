"""The SSLACL trunk, nine branches and the convolution that joins them, and the bottleneck behind it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from napari_medssl.models.encoder import encoders
from napari_medssl.models.nine_branches import BRANCHES, STRIDE, NineBranches, centre_cells, convolution, scaled

_BRANCH, _JOINED, _BOTTLENECK = (256, 512), 2048, 1024


@encoders.register("sslacl-trunk")
class SslaclTrunk(nn.Module):
    """The SSLACL pretext network up to its channel-wise aggregation, as an encoder of slices with stride 4.

    Input (B, in_slices, H, W) in [0, 1], H and W multiples of 4; output (B, channels, H / 4, W / 4): the whole slice
    goes to all nine branches. `patches` takes nine patches instead.

    It ends after the convolution that joins the 9 x 512 branch features to 2048, not after the bare concatenation: this
    is the first place where one feature cell knows of all nine branches, at less than half the channels, and it has
    any number of them. The thesis' own downstream network takes the branches alone (3.4.2; the module `branches`),
    each for other slices.

    width: factor of all filters, 1 as published. channels: of the output; 0: 2048 times width.
    norm: batch normalisation after each convolution; without it the parameters number exactly as published (B3-17).
    patch_mode, patch: as in the SKID trunk. input_size: side of the square for the slice frame.

    Source: thesis 3.4.1.4, 3.4.1.5, Fig. 3.4; S06.
    """

    stride = STRIDE

    def __init__(
        self, *, in_slices: int = 1, width: float = 1.0, channels: int = 0, norm: bool = True,
        patch_mode: bool = False, patch: int = 64, input_size: int = 256,
    ) -> None:  # fmt: skip
        super().__init__()
        self.in_slices, self.input_size = in_slices, input_size
        self.patch_mode, self.patch = patch_mode, patch
        self.channels = channels or scaled(_JOINED, width)
        self.config: dict[str, Any] = {
            "in_slices": in_slices, "width": width, "channels": self.channels, "norm": norm,
            "patch_mode": patch_mode, "patch": patch, "input_size": input_size,
        }  # fmt: skip
        first, second = (scaled(n, width) for n in _BRANCH)
        self.branches = NineBranches(in_slices, (first, second), norm=norm)
        self.join = nn.Sequential(*convolution(self.branches.channels, self.channels, norm=norm))

    def patches(self, patches: Tensor) -> Tensor:
        """(B, 9, in_slices, h, w) patches, the k-th to branch k, to (B, channels, h / 4, w / 4)."""
        out: Tensor = self.join(self.branches(patches.unbind(1)))
        return out

    def forward(self, slices: Tensor) -> Tensor:
        images = centre_cells(slices, self.patch) if self.patch_mode else [slices] * BRANCHES
        out: Tensor = self.join(self.branches(images))
        return out


class SslaclBottleneck(nn.Module):
    """(B, inputs, H, W) to (B, 2 * filters, H / 2, W / 2): strided convolutions beside one with max pooling, joined.

    Source: thesis 3.4.1.5, Fig. 3.4; 1024 filters at width 1.
    """

    def __init__(self, inputs: int, *, width: float = 1.0, norm: bool = True) -> None:
        super().__init__()
        filters = scaled(_BOTTLENECK, width)
        self.channels = 2 * filters
        self.strided = nn.Sequential(
            *convolution(inputs, filters, norm=norm), *convolution(filters, filters, stride=2, norm=norm)
        )
        self.pooled = nn.Sequential(*convolution(inputs, filters, norm=norm), nn.MaxPool2d(2))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.strided(x), self.pooled(x)], 1)
