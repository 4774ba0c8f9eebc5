"""A convolutional LSTM: reads a row of feature maps and remembers what mattered, place by place."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ConvLstm(nn.Module):
    """(B, S, inputs, h, w) feature maps in their order to (B, S, channels, h, w) states, one after each map.

    One layer with 3x3 convolutions and without peepholes: those two follow from the 103.8 M parameters of the thesis'
    classifier (Shi et al., 2015, have peepholes). The forget gate starts with a bias of 1, so that it begins by
    remembering (ours). The part of the gates that comes from the input is computed for all S maps at once.
    """

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.from_input = nn.Conv2d(inputs, 4 * channels, 3, padding=1)
        self.from_state = nn.Conv2d(channels, 4 * channels, 3, padding=1, bias=False)
        with torch.no_grad():
            self.from_input.bias[channels : 2 * channels] = 1.0  # type: ignore[index]  # it has a bias

    def forward(self, maps: Tensor) -> Tensor:
        gates = self.from_input(maps.flatten(0, 1)).unflatten(0, maps.shape[:2])  # (B, S, 4 * channels, h, w)
        shown = torch.zeros_like(gates[:, 0, : self.channels])
        memory, states = torch.zeros_like(shown), []
        for step in gates.unbind(1):
            write, forget, show, content = (step + self.from_state(shown)).chunk(4, 1)
            memory = forget.sigmoid() * memory + write.sigmoid() * content.tanh()
            shown = show.sigmoid() * memory.tanh()
            states.append(shown)
        return torch.stack(states, 1)
