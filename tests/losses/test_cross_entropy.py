"""Weighted cross-entropy against numbers worked by hand."""

from __future__ import annotations

import math

import pytest
import torch

from napari_medssl.losses.cross_entropy import weighted_cross_entropy


def test_hand_value() -> None:
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0]]).T.view(1, 2, 1, 2)  # pixel 0: (bg 2, fg 0); pixel 1: (0, 1)
    target = torch.tensor([[[0, 1]]])
    nll = [math.log(1 + math.exp(-2)), math.log(1 + math.exp(-1))]
    assert float(weighted_cross_entropy(logits, target)) == pytest.approx((0.05 * nll[0] + nll[1]) / 1.05)
    assert float(weighted_cross_entropy(logits, target, (1.0, 1.0))) == pytest.approx(sum(nll) / 2)


def test_both_classes_carry_gradient() -> None:
    logits = torch.zeros(1, 2, 1, 2, requires_grad=True)
    weighted_cross_entropy(logits, torch.tensor([[[0, 1]]])).backward()
    assert logits.grad is not None
    assert logits.grad[0, 1].tolist()[0] == pytest.approx([0.5 * 0.05 / 1.05, -0.5 / 1.05])


def test_raw_cosines_cannot_bring_the_loss_down() -> None:
    # B7-04: cosines of +1 and -1 leave the loss at -ln 0.8808; the factor 20 lets it vanish.
    best = torch.tensor([-1.0, 1.0]).view(1, 2, 1, 1)
    target = torch.ones(1, 1, 1)
    assert float(weighted_cross_entropy(best, target)) == pytest.approx(0.1269, abs=1e-4)
    assert float(weighted_cross_entropy(20 * best, target)) < 1e-6
