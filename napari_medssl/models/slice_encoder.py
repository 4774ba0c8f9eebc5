"""The default slice encoder: small, residual, 2.5D, aware of where in the body a pixel lies."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_medssl.models.encoder import encoders

_AIR = 0.08  # of the intensity window: below it a pixel does not count as body


class _Block(nn.Module):
    """Two 3x3 convolutions with GroupNorm and a residual path."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, dilation, dilation, bias=False)
        self.norm1 = nn.GroupNorm(8, outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, dilation, dilation, bias=False)
        self.norm2 = nn.GroupNorm(8, outputs)
        same = inputs == outputs and stride == 1
        self.skip: nn.Module = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(y)) + self.skip(x))


def body_coordinates(image: Tensor) -> Tensor:
    """Where each pixel lies in the body: (B, 2, H, W) in [-1, 1], y then x, from a (B, H, W) image in [0, 1].

    The coordinate of a row (column) is the share of body pixels in the rows above (columns left of) it, so it does
    not change with the field of view, the patient's size or the position on the table.
    """
    body = (image > _AIR).to(image.dtype)
    body = body + 1e-4  # an empty slice gets plain image coordinates instead of 0 / 0
    rows, columns = body.sum(2).cumsum(1), body.sum(1).cumsum(1)
    y = 2 * rows / rows[:, -1:] - 1
    x = 2 * columns / columns[:, -1:] - 1
    b, h, w = image.shape
    return torch.stack([y[:, :, None].expand(b, h, w), x[:, None, :].expand(b, h, w)], 1)


@encoders.register("slice-resnet")
class SliceResNet(nn.Module):
    """Residual encoder with stride 4, dilated context and an image-level summary.

    Input (B, in_slices, H, W) in [0, 1], H and W multiples of 8; output (B, channels, H / 4, W / 4).
    Two body coordinates are appended to the input channels; a stride-8 branch with dilations 1, 2, 4 sees most of
    the slice and is added back at stride 4.

    width: channels of the first stage; channels: length of a feature vector; input_size: side of the square it was
    trained on, used for the frame.
    """

    def __init__(self, *, in_slices: int = 3, width: int = 32, channels: int = 128, input_size: int = 192) -> None:
        super().__init__()
        self.in_slices, self.channels, self.stride, self.input_size = in_slices, channels, 4, input_size
        self.config: dict[str, Any] = {
            "in_slices": in_slices,
            "width": width,
            "channels": channels,
            "input_size": input_size,
        }
        self.stem = nn.Sequential(
            nn.Conv2d(in_slices + 2, width, 5, 2, 2, bias=False), nn.GroupNorm(8, width), nn.ReLU()
        )
        self.stage2 = nn.Sequential(_Block(width, 2 * width, stride=2), _Block(2 * width, 2 * width))
        self.stage3 = nn.Sequential(
            _Block(2 * width, 4 * width, stride=2),
            _Block(4 * width, 4 * width, dilation=2),
            _Block(4 * width, 4 * width, dilation=4),
            _Block(4 * width, 4 * width, dilation=2),
        )
        self.fine = nn.Conv2d(2 * width, channels, 1)
        self.coarse = nn.Conv2d(4 * width, channels, 1)
        self.merge = _Block(channels, channels)
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, slices: Tensor) -> Tensor:
        coordinates = body_coordinates(slices[:, self.in_slices // 2])
        x = self.stem(torch.cat([slices - 0.5, coordinates.to(slices.dtype)], 1))
        fine = self.stage2(x)
        coarse = self.coarse(self.stage3(fine))
        up = F.interpolate(coarse, size=fine.shape[-2:], mode="bilinear", align_corners=False)
        out: Tensor = self.out(self.merge(self.fine(fine) + up))
        return out
