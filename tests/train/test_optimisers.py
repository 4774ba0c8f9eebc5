"""Every optimiser against its equations written out for single numbers, and the documents' presets."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from napari_medssl.settings import check
from napari_medssl.train.checkpoint import RunState, resume_run, save_run
from napari_medssl.train.optimisers import (
    BENCHMARK_3D,
    COWPRO,
    PRESETS,
    THESIS_BINARY,
    THESIS_JIGSAW,
    THESIS_LARGE,
    Lars,
    make_optimiser,
    square_root_rate,
)
from napari_medssl.train.run_settings import OptimSettings

NAMES = ["sgd", "adam", "adamw", "rmsprop", "lars"]


def _net(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))


def _descend(net: nn.Module, optimiser: torch.optim.Optimizer, steps: int, first: int = 0) -> None:
    for step in range(first, first + steps):
        x = torch.randn(16, 4, generator=torch.Generator().manual_seed(step))
        optimiser.zero_grad()
        (net(x) - x[:, :2]).square().mean().backward()
        optimiser.step()


def test_lars_follows_the_paper() -> None:
    w = nn.Parameter(torch.tensor([[3.0, -4.0]], dtype=torch.float64))
    b = nn.Parameter(torch.tensor([2.0], dtype=torch.float64))
    optimiser = Lars([w, b], 0.5, momentum=0.9, weight_decay=0.1, trust=0.01)
    weights, bias, v, u = [3.0, -4.0], 2.0, [0.0, 0.0], 0.0
    for slope in ([6.0, 8.0], [1.0, 0.0], [0.0, -2.0]):
        optimiser.zero_grad()
        ((w * torch.tensor([slope])).sum() + 5.0 * b.sum()).backward()
        optimiser.step()
        length, steep = math.hypot(*weights), math.hypot(*slope)
        ratio = 0.01 * length / (steep + 0.1 * length)
        v = [0.9 * a + 0.5 * ratio * (g + 0.1 * x) for a, g, x in zip(v, slope, weights, strict=True)]
        weights = [x - a for x, a in zip(weights, v, strict=True)]
        u = 0.9 * u + 0.5 * (5.0 + 0.1 * bias)
        bias -= u
        assert w.detach()[0].tolist() == pytest.approx(weights, rel=1e-12)
        assert b.item() == pytest.approx(bias, rel=1e-12)


def test_lars_does_not_care_for_the_length_of_the_gradient() -> None:
    moved = []
    for scale in (1.0, 1000.0):
        w = nn.Parameter(torch.ones(2, 2))
        optimiser = Lars([w], 0.1, weight_decay=0.0)
        (scale * (w * torch.tensor([[1.0, 2.0], [3.0, 4.0]])).sum()).backward()
        optimiser.step()
        moved.append(w.detach().clone())
    torch.testing.assert_close(moved[0], moved[1])


def test_lars_moves_weights_that_begin_at_zero() -> None:
    w = nn.Parameter(torch.zeros(2, 2))
    w.grad = torch.ones(2, 2)
    Lars([w], 0.1).step()
    assert torch.allclose(w, torch.full((2, 2), -0.1))


@pytest.mark.parametrize("name", NAMES)
def test_the_loss_falls(name: str) -> None:
    net = _net()
    x = torch.randn(64, 4, generator=torch.Generator().manual_seed(99))

    def loss() -> float:
        return float((net(x) - x[:, :2]).square().mean().detach())

    before = loss()
    settings = OptimSettings(name=name, learning_rate=0.02, trust=0.5)  # type: ignore[arg-type]
    _descend(net, make_optimiser(net, settings), 80)
    assert loss() < 0.5 * before


@pytest.mark.parametrize(("name", "spared"), [("adamw", True), ("lars", True), ("sgd", False), ("adam", False)])
def test_what_is_decayed(name: str, spared: bool) -> None:
    net = _net()
    optimiser = make_optimiser(net, OptimSettings(name=name, weight_decay=0.5))  # type: ignore[arg-type]
    decay = {id(p): group["weight_decay"] for group in optimiser.param_groups for p in group["params"]}
    assert len(decay) == len(list(net.parameters()))
    for p in net.parameters():
        assert decay[id(p)] == (0.0 if spared and p.ndim == 1 else 0.5)


def test_frozen_parameters_are_left_out() -> None:
    net = _net()
    net[0].requires_grad_(False)  # type: ignore[operator]
    held = {id(p) for g in make_optimiser(net, OptimSettings()).param_groups for p in g["params"]}
    assert held == {id(p) for p in net.parameters() if p.requires_grad}
    assert len(held) == 4


@pytest.mark.parametrize("name", NAMES)
def test_a_saved_and_restored_optimiser_goes_on_exactly(tmp_path, name: str) -> None:
    settings = OptimSettings(name=name, learning_rate=0.01)  # type: ignore[arg-type]
    whole, cut, later = _net(), _net(), _net(seed=5)
    _descend(whole, make_optimiser(whole, settings), 6)
    optimiser = make_optimiser(cut, settings)
    _descend(cut, optimiser, 3)
    save_run(tmp_path / "state.safetensors", RunState(3, 0.0, {}, {}), model=cut, optimiser=optimiser)
    restored = make_optimiser(later, settings)
    assert resume_run(tmp_path / "state.safetensors", {}, model=later, optimiser=restored) is not None
    _descend(later, restored, 3, first=3)
    for a, b in zip(whole.state_dict().values(), later.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_rmsprop_of_the_thesis() -> None:
    w = nn.Parameter(torch.tensor([1.0], dtype=torch.float64))
    optimiser = make_optimiser([w], THESIS_JIGSAW)
    value, mean = 1.0, 0.0
    for slope in (2.0, -1.0, 0.5):
        w.grad = torch.tensor([slope], dtype=torch.float64)
        optimiser.step()
        mean = 0.9 * mean + 0.1 * slope**2
        value -= 1e-4 * slope / (math.sqrt(mean) + 1e-8)
        assert w.item() == pytest.approx(value, rel=1e-14)


def test_two_steps_of_sgd_with_momentum_and_decay() -> None:
    w = nn.Parameter(torch.tensor([2.0]))
    optimiser = make_optimiser([w], OptimSettings(name="sgd", learning_rate=0.1, momentum=0.9, weight_decay=0.5))
    value, velocity = 2.0, 0.0
    for _ in range(2):
        w.grad = torch.tensor([3.0])
        optimiser.step()
        velocity = 0.9 * velocity + 3.0 + 0.5 * value
        value -= 0.1 * velocity
        assert w.item() == pytest.approx(value)


def test_presets_are_those_of_the_documents() -> None:
    for preset in PRESETS.values():
        check(preset)
        make_optimiser(_net(), preset)
    assert square_root_rate(256) == THESIS_LARGE.learning_rate == pytest.approx(1.2)
    assert square_root_rate(64, base=0.1) == pytest.approx(0.8)
    lars = make_optimiser(_net(), THESIS_BINARY).param_groups[0]
    assert (lars["lr"], lars["momentum"], lars["weight_decay"], lars["trust"]) == (0.1, 0.9, 1e-6, 1e-3)
    assert BENCHMARK_3D.decay_every == 250
    assert (COWPRO.momentum, COWPRO.weight_decay) == (0.9, 5e-4)
