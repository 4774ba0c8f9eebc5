"""How many parameters a network has, and how many of them are trained."""

from __future__ import annotations

from typing import NamedTuple

from torch import nn


class ParameterCount(NamedTuple):
    """Numbers of parameters; buffers such as the moving statistics of batch normalisation are not among them."""

    trainable: int
    total: int


def count_parameters(module: nn.Module) -> ParameterCount:
    """Parameters that take a gradient, and all; one that is used in several places counts once.

    Models are often published by one of the two numbers without a word on which: the thesis' SKID classifier has 104 M
    trainable parameters behind a frozen body of 212 M (thesis 3.4.2.4; B3-30).

    >>> count_parameters(nn.Linear(3, 2))
    ParameterCount(trainable=8, total=8)
    """
    parameters = list(module.parameters())
    return ParameterCount(sum(p.numel() for p in parameters if p.requires_grad), sum(p.numel() for p in parameters))
