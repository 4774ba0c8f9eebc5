"""Residual networks with dilated last stages: the encoder of the published prototype method and smaller kin."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from napari_medssl.models.encoder import encoders

# Mean and deviation of ImageNet images over their three channels (0.485, 0.456, 0.406; 0.229, 0.224, 0.225): what
# published weights were trained with. One value for all channels, because a slice has no colours.
_MEAN, _STD = 0.449, 0.226


def _conv3(inputs: int, outputs: int, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride, dilation, dilation, bias=False)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions (He et al., 2016). Module names are torchvision's, so that its weights load by name."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv3(inputs, width, stride, dilation), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = _conv3(width, width, 1, dilation), nn.BatchNorm2d(width)
        self.downsample = _shortcut(inputs, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.downsample(x))


class Bottleneck(nn.Module):
    """1x1, 3x3 (with stride and dilation), 1x1 convolutions, four times as many channels out."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int, dilation: int) -> None:
        super().__init__()
        outputs = 4 * width
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = _conv3(width, width, stride, dilation), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
        self.downsample = _shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        return F.relu(self.bn3(self.conv3(y)) + self.downsample(x))


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Module:
    if inputs == outputs and stride == 1:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


class DilatedResNet(nn.Module):
    """ResNet with output stride 8 and a 1x1 reduction to `channels`.

    Input (B, in_slices, H, W) in [0, 1], H and W multiples of 8; output (B, channels, H / 8, W / 8).
    block, counts: kind and number of blocks of the four stages.
    in_slices: 1 repeats the slice to three channels as published; 3 gives the neighbours instead; other odd numbers
        change the first convolution, which then does not take published weights.
    input_size: side of the square for the slice frame.

    Source: thesis 7.4.1.2: torchvision's DeepLabv3 ResNet-101, dilation in the last two stages, 3 x 256 x 256 in and
    256 x 32 x 32 out. How 2048 channels become 256 is not said; the authors' public code uses a bias-free 1x1
    convolution on the backbone, without the ASPP head, and so does this (B7-24).
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        counts: tuple[int, int, int, int],
        *,
        in_slices: int = 1,
        channels: int = 256,
        width: int = 64,
        input_size: int = 256,
    ) -> None:
        super().__init__()
        if in_slices < 1 or in_slices % 2 == 0:
            raise ValueError(f"in_slices is {in_slices}; it must be odd, the middle slice is the one encoded")
        self.in_slices, self.channels, self.stride, self.input_size = in_slices, channels, 8, input_size
        self.config: dict[str, Any] = {
            "in_slices": in_slices, "channels": channels, "width": width, "input_size": input_size,
        }  # fmt: skip
        planes = 3 if in_slices == 1 else in_slices
        self.conv1, self.bn1 = nn.Conv2d(planes, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width)
        e = block.expansion
        self.layer1 = _stage(block, width, width, counts[0])
        self.layer2 = _stage(block, width * e, 2 * width, counts[1], stride=2)
        self.layer3 = _stage(block, 2 * width * e, 4 * width, counts[2], dilation=2)
        self.layer4 = _stage(block, 4 * width * e, 8 * width, counts[3], before=2, dilation=4)
        self.reduce = nn.Conv2d(8 * width * e, channels, 1, bias=False)
        self.apply(_initialise)

    def forward(self, slices: Tensor) -> Tensor:
        if self.in_slices == 1:
            slices = slices.expand(-1, 3, -1, -1)
        x = F.relu(self.bn1(self.conv1((slices - _MEAN) / _STD)))
        x = F.max_pool2d(x, 3, 2, 1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        out: Tensor = self.reduce(x)
        return out


def _stage(
    block: type[BasicBlock] | type[Bottleneck],
    inputs: int,
    width: int,
    count: int,
    *,
    stride: int = 1,
    before: int = 1,
    dilation: int = 1,
) -> nn.Sequential:
    """`count` blocks. The first keeps the dilation of the stage before, as in torchvision's weights."""
    outputs = width * block.expansion
    rest = [block(outputs, width, 1, dilation) for _ in range(count - 1)]
    return nn.Sequential(block(inputs, width, stride, before), *rest)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


@encoders.register("resnet18-s8")
def resnet18(**config: Any) -> DilatedResNet:
    """11.3 M parameters; the smallest that takes published weights."""
    return DilatedResNet(BasicBlock, (2, 2, 2, 2), **config)


@encoders.register("resnet50-s8")
def resnet50(**config: Any) -> DilatedResNet:
    """24.0 M parameters."""
    return DilatedResNet(Bottleneck, (3, 4, 6, 3), **config)


@encoders.register("resnet101-s8")
def resnet101(**config: Any) -> DilatedResNet:
    """43.0 M parameters: the thesis' encoder."""
    return DilatedResNet(Bottleneck, (3, 4, 23, 3), **config)
