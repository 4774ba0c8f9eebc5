"""From a coarse grid of features back to voxels, by one linear map for each cell."""

from __future__ import annotations

from torch import Tensor, nn


def cells_to_image(cells: Tensor, stride: int) -> Tensor:
    """(B, C * stride^d, *grid) to (B, C, *grid * stride): a cell's values become the voxels of its patch.

    Of a cell's values the channel is the slowest index, then the axes in order. In two dimensions it is PyTorch's pixel
    shuffle; that has no third dimension.
    """
    grid = cells.shape[2:]
    d = len(grid)
    parts = cells.reshape(cells.shape[0], -1, *[stride] * d, *grid)  # (B, C, p, p, ..., g, g, ...)
    axes = [axis for i in range(d) for axis in (2 + d + i, 2 + i)]
    return parts.permute(0, 1, *axes).reshape(cells.shape[0], parts.shape[1], *[g * stride for g in grid])


class PatchHead(nn.Module):
    """(B, channels, *grid) features to a (B, outputs, *grid * stride) image; a 1x1 convolution and nothing else.

    Source: Xie et al., 2022 (SimMIM), where one linear layer restores as well as a deep decoder.
    """

    def __init__(self, channels: int, outputs: int, *, stride: int, dims: int) -> None:
        super().__init__()
        self.stride = stride
        kind = nn.Conv2d if dims == 2 else nn.Conv3d
        self.linear = kind(channels, outputs * stride**dims, 1)

    def forward(self, features: Tensor) -> Tensor:
        return cells_to_image(self.linear(features), self.stride)
