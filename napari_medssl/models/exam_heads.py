"""From the features of an exam's slices to its labels: five ways of looking at all slices together.

Each takes (B, S, D, h, w) features of S slices in their order and gives (B, L) logits.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_medssl.errors import SettingsError
from napari_medssl.models.convlstm import ConvLstm
from napari_medssl.models.nine_branches import convolution, scaled

HeadName: TypeAlias = Literal["max", "attention", "convlstm", "conv3d", "divide"]

_STATES, _ATTENTION = 512, 128
_BLOCKS, _FC = (512, 1024, 1024), 1024  # of the SSLACL classifier (B3-27)


class ChannelScale(nn.Module):
    """(..., D) features with each channel moved and scaled as `fit` found it; at first as they are. No parameters.

    Channels of a frozen encoder differ in size by orders of magnitude, and a linear layer learns those last that are
    small. Linear evaluations standardise features for that reason (`evaluate.probe`); the documents do not say.
    """

    centre: Tensor
    width: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(channels))
        self.register_buffer("width", torch.ones(channels))

    def fit(self, features: Tensor) -> None:
        """Make (N, D) features have mean 0 and deviation 1 in each channel; one that is constant stays as it is."""
        found = features.std(0, correction=0)
        self.centre = features.mean(0).to(self.centre)
        self.width = torch.where(found > 1e-8, found, torch.ones_like(found)).to(self.width)

    def forward(self, features: Tensor) -> Tensor:
        return (features - self.centre) / self.width


class MaxHead(nn.Module):
    """Mean over places, largest over slices, one linear layer: the order of slices does not matter.

    Source: Bien et al., 2018 (MRNet; thesis 3.4.2.2) and, with 2048 channels, thesis 4.5.2.2 (S15, S25).
    """

    def __init__(self, inputs: int, labels: int) -> None:
        super().__init__()
        self.scale = ChannelScale(inputs)
        self.out = nn.Linear(inputs, labels)

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.out(self.scale(features.mean((3, 4))).amax(1))
        return logits


class AttentionHead(nn.Module):
    """Gated attention over slices (Ilse et al., 2018), one linear layer on their weighted mean.

    Guide 001 names it for volumes (S104) without sizes; 128 hidden units are those of its authors. The first weights
    look at all slices alike, so that training begins with the mean (ours).
    """

    def __init__(self, inputs: int, labels: int) -> None:
        super().__init__()
        self.scale = ChannelScale(inputs)
        self.content, self.gate = nn.Linear(inputs, _ATTENTION), nn.Linear(inputs, _ATTENTION)
        self.score = nn.Linear(_ATTENTION, 1, bias=False)
        nn.init.zeros_(self.score.weight)
        self.out = nn.Linear(inputs, labels)

    def attention(self, features: Tensor) -> Tensor:
        """(B, S) how much each slice counts; the sum over slices is 1."""
        x = self.scale(features.mean((3, 4)))
        scores: Tensor = self.score(self.content(x).tanh() * self.gate(x).sigmoid())
        return scores[..., 0].softmax(1)

    def forward(self, features: Tensor) -> Tensor:
        weights = self.attention(features)
        logits: Tensor = self.out((weights[..., None] * self.scale(features.mean((3, 4)))).sum(1))
        return logits


class ConvLstmHead(nn.Module):
    """Two convolutional LSTMs of 512 channels, mean over the places of the last state, one linear layer.

    103,814,659 parameters on 4096 channels and three labels: the thesis' "about 103 million" (3.4.2.4; B3-30).
    """

    def __init__(self, inputs: int, labels: int, *, width: float = 1.0) -> None:
        super().__init__()
        states = scaled(_STATES, width)
        self.first, self.second = ConvLstm(inputs, states), ConvLstm(states, states)
        self.out = nn.Linear(states, labels)

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.out(self.second(self.first(features))[:, -1].mean((2, 3)))
        return logits


class Conv3dHead(nn.Module):
    """Two 3x3x3 convolutions of 512 channels with ReLU, mean over places and slices, one linear layer.

    The thesis compares the ConvLSTM with "a 3D-CNN" without naming its layers (3.5.4.6); these are ours (B3-55): as
    many layers, filters and the same ending as the ConvLSTM has.
    """

    def __init__(self, inputs: int, labels: int, *, width: float = 1.0) -> None:
        super().__init__()
        filters = scaled(_STATES, width)
        self.first, self.second = (nn.Conv3d(n, filters, 3, padding=1) for n in (inputs, filters))
        self.out = nn.Linear(filters, labels)

    def forward(self, features: Tensor) -> Tensor:
        x = F.relu(self.second(F.relu(self.first(features.transpose(1, 2)))))  # (B, filters, S, h, w)
        logits: Tensor = self.out(x.mean((2, 3, 4)))
        return logits


class DivideHead(nn.Module):
    """The SSLACL classifier: three blocks of two convolutions, the second with stride 2; mean over places, largest over
    slices, two hidden layers of 1024, one linear layer.

    39,854,081 parameters for one label at width 1 without `norm` (thesis 3.4.2.2, Fig. 3.6; S07).
    """

    def __init__(self, inputs: int, labels: int, *, width: float = 1.0, norm: bool = False) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = inputs
        for filters in (scaled(n, width) for n in _BLOCKS):
            layers += convolution(before, filters, norm=norm) + convolution(filters, filters, stride=2, norm=norm)
            before = filters
        self.blocks = nn.Sequential(*layers)
        hidden = scaled(_FC, width)
        self.hidden = nn.Sequential(nn.Linear(before, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
        self.out = nn.Linear(hidden, labels)

    def forward(self, features: Tensor) -> Tensor:
        # One exam after the other: at thesis size the maps of 36 slices take more than a gigabyte.
        slices = torch.stack([self.blocks(exam).mean((2, 3)).amax(0) for exam in features])
        logits: Tensor = self.out(self.hidden(slices))
        return logits


def build_head(name: HeadName, inputs: int, labels: int, *, width: float = 1.0, norm: bool = False) -> Any:
    """The head `name` on `inputs` channels with first weights.

    width: factor of its filters, 1 as published; `max` and `attention` have none. norm: of `divide`.

    Raises SettingsError when no head has this name.
    """
    if name == "max":
        return MaxHead(inputs, labels)
    if name == "attention":
        return AttentionHead(inputs, labels)
    if name == "convlstm":
        return ConvLstmHead(inputs, labels, width=width)
    if name == "conv3d":
        return Conv3dHead(inputs, labels, width=width)
    if name == "divide":
        return DivideHead(inputs, labels, width=width, norm=norm)
    raise SettingsError(f"no head is called {name!r}; choose max, attention, convlstm, conv3d or divide")
