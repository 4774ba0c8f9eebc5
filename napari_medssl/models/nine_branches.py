"""Nine unshared convolutional branches side by side: one for each cell of a 3 x 3 jigsaw, or all for a whole slice."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from napari_medssl.errors import GeometryError

BRANCHES = 9
STRIDE = 4
"""Input pixels per feature cell after a branch: two poolings by 2."""


class NineBranches(nn.Module):
    """Nine branches of two blocks, each of two 3x3 convolutions and a 2x2 max pooling.

    Called with nine (B, C, h, w) images, one for each branch, it gives their (B, 9 * filters[1], h / 4, w / 4) features
    joined along the channels. The images are nine patches in the order the network sees them, or nine times one slice.

    filters: of the two convolutions of the first block and of the second.
    norm: batch normalisation after each convolution.

    The branches run one after the other: as one grouped convolution they were 0 to 2 times slower on a CPU.

    Source: thesis 3.4.1.4 and Fig. 3.4. Kernels, padding, activation and normalisation are not given there; 3x3, bias
    and unshared branches follow from the parameter counts (B3-17).
    """

    def __init__(self, in_channels: int, filters: tuple[int, int], *, norm: bool = True) -> None:
        super().__init__()
        self.channels = BRANCHES * filters[1]
        self.branches = nn.ModuleList(_branch(in_channels, filters, norm) for _ in range(BRANCHES))

    def forward(self, images: Sequence[Tensor]) -> Tensor:
        return torch.cat([branch(image) for branch, image in zip(self.branches, images, strict=True)], 1)


def _branch(in_channels: int, filters: tuple[int, int], norm: bool) -> nn.Sequential:
    first, second = filters
    return nn.Sequential(
        *convolution(in_channels, first, norm=norm), *convolution(first, first, norm=norm), nn.MaxPool2d(2),
        *convolution(first, second, norm=norm), *convolution(second, second, norm=norm), nn.MaxPool2d(2),
    )  # fmt: skip


def convolution(
    inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1, norm: bool = True, rectify: bool = True
) -> list[nn.Module]:
    """A padded convolution with bias, then batch normalisation and ReLU as asked; its layers, to be put in a row.

    The first weights keep the variance of rectified features, without which the nets that have no normalisation do not
    start to learn.
    """
    layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]  # it has a bias
    layers: list[nn.Module] = [layer]
    if norm:
        layers.append(nn.BatchNorm2d(outputs))
    if rectify:
        layers.append(nn.ReLU(inplace=True))
    return layers


def scaled(filters: int, width: float) -> int:
    """A published number of filters times `width`, rounded to an even number of at least 2."""
    return max(2, 2 * round(filters * width / 2))


def centre_cells(slices: Tensor, patch: int) -> list[Tensor]:
    """Nine (B, C, patch, patch) crops, row by row, each in the middle of its cell of a 3 x 3 grid on (B, C, H, W).

    The grid has cells of H // 3 by W // 3 pixels; what is left over at the lower and right borders is not used.

    Raises GeometryError when a cell is smaller than the patch.
    """
    h, w = slices.shape[2] // 3, slices.shape[3] // 3
    if min(h, w) < patch:
        raise GeometryError(
            f"a third of the slice has {h} x {w} pixels and holds no patch of {patch}; "
            "give larger slices, or a smaller patch"
        )
    top, left = (h - patch) // 2, (w - patch) // 2
    return [
        slices[:, :, r * h + top : r * h + top + patch, c * w + left : c * w + left + patch]
        for r in range(3)
        for c in range(3)
    ]
