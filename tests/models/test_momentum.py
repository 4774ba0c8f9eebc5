"""The moving average of a network."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from napari_medssl.models.momentum import MomentumCopy, cosine_momentum


def _network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))


def test_a_copy_starts_equal_and_apart() -> None:
    source = _network()
    follower = MomentumCopy(source)
    x = torch.randn(5, 3)
    assert torch.equal(follower(x), source(x))
    assert not follower(x).requires_grad
    assert not any(p.requires_grad for p in follower.parameters())
    assert all(p.requires_grad for p in source.parameters())
    with torch.no_grad():
        next(source.parameters()).zero_()
    assert float(next(follower.parameters()).abs().sum()) > 0


def test_the_average_by_its_formula() -> None:
    source = _network()
    follower = MomentumCopy(source)
    before = [p.clone() for p in follower.parameters()]
    with torch.no_grad():
        for p in source.parameters():
            p.add_(1.0)
    follower.follow(source, 0.9)
    follower.follow(source, 0.9)
    for was, now in zip(before, follower.parameters(), strict=True):
        assert torch.allclose(now, 0.81 * was + 0.19 * (was + 1.0), atol=1e-6)


@pytest.mark.parametrize(("momentum", "equal"), [(0.0, "source"), (1.0, "before")])
def test_the_ends(momentum: float, equal: str) -> None:
    source = _network()
    follower = MomentumCopy(source)
    before = copy.deepcopy(follower.module.state_dict())
    with torch.no_grad():
        for p in source.parameters():
            p.mul_(2.0)
    follower.follow(source, momentum)
    wanted = dict(source.named_parameters()) if equal == "source" else before
    assert all(torch.allclose(p, wanted[name]) for name, p in follower.module.named_parameters())


def test_running_statistics_are_its_own() -> None:
    source = _network()
    follower = MomentumCopy(source)
    follower(torch.full((4, 3), 9.0) + torch.randn(4, 3))
    mine = follower.module.state_dict()["1.running_mean"].clone()
    assert not torch.equal(mine, source.state_dict()["1.running_mean"])
    follower.follow(source, 0.5)
    assert torch.equal(follower.module.state_dict()["1.running_mean"], mine)


def test_its_state_is_all_there_is() -> None:
    source = _network()
    follower, other = MomentumCopy(source), MomentumCopy(_network())
    with torch.no_grad():
        for p in source.parameters():
            p.add_(torch.randn_like(p))
    follower.follow(source, 0.5)
    other.load_state_dict(follower.state_dict())
    x = torch.randn(5, 3)
    assert torch.equal(other(x), follower(x))


def test_momentum_rises_to_one_along_a_cosine() -> None:
    assert cosine_momentum(0.996, 0.0) == pytest.approx(0.996)
    assert cosine_momentum(0.996, 0.5) == pytest.approx(0.998)
    assert cosine_momentum(0.996, 1.0) == pytest.approx(1.0)
    steps = [cosine_momentum(0.9, s / 20) for s in range(21)]
    assert steps == sorted(steps)
