"""The published learning-rate schedule and the guard against gradients that are not finite."""

from __future__ import annotations

import pytest
import torch

from napari_medssl.train.optim import SgdSettings, apply_gradient, make_sgd, rate_at


def test_rate_falls_by_a_twentieth_every_thousand_steps() -> None:
    settings = SgdSettings()
    assert rate_at(0, settings) == rate_at(999, settings) == 1e-3
    assert rate_at(1000, settings) == pytest.approx(0.95e-3)
    assert rate_at(99_999, settings) == pytest.approx(1e-3 * 0.95**99)


def test_two_steps_follow_sgd_with_momentum_and_decay() -> None:
    settings = SgdSettings(learning_rate=0.1, momentum=0.9, weight_decay=0.5, decay=0.5, decay_every=1)
    w = torch.nn.Parameter(torch.tensor([2.0]))
    optimiser = make_sgd([w], settings)
    value, velocity = 2.0, 0.0
    for step in range(2):
        assert apply_gradient(optimiser, 3.0 * w.sum(), step, settings)
        velocity = 0.9 * velocity + 3.0 + 0.5 * value
        value -= 0.1 * 0.5**step * velocity
        assert w.item() == pytest.approx(value)


@pytest.mark.parametrize("factor", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_changes_nothing(factor: float) -> None:
    w = torch.nn.Parameter(torch.tensor([2.0]))
    optimiser = make_sgd([w], SgdSettings())
    assert not apply_gradient(optimiser, w.sum() * factor, 0, SgdSettings())
    assert w.item() == 2.0
    assert not optimiser.state_dict()["state"]


def test_a_gradient_that_is_not_finite_changes_nothing() -> None:
    w = torch.nn.Parameter(torch.tensor([0.0]))
    optimiser = make_sgd([w], SgdSettings())
    assert not apply_gradient(optimiser, w.sqrt().sum(), 0, SgdSettings())  # slope of a root at 0
    assert w.item() == 0.0


def test_clipping() -> None:
    settings = SgdSettings(learning_rate=1.0, momentum=0.0, weight_decay=0.0, clip_norm=0.5)
    w = torch.nn.Parameter(torch.tensor([0.0, 0.0]))
    apply_gradient(make_sgd([w], settings), (w * torch.tensor([30.0, 40.0])).sum(), 0, settings)
    assert w.tolist() == pytest.approx([-0.3, -0.4], rel=1e-4)
