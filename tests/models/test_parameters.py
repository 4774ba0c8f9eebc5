"""Counting parameters: frozen ones, shared ones, buffers."""

from __future__ import annotations

from torch import nn

from napari_medssl.models.parameters import count_parameters


def test_frozen_parameters_are_not_trainable() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    net[0].requires_grad_(False)
    assert count_parameters(net) == (10, 26)


def test_shared_parameters_count_once_and_buffers_never() -> None:
    layer = nn.Linear(3, 3)
    assert count_parameters(nn.Sequential(layer, nn.BatchNorm1d(3), layer)).total == 12 + 6
