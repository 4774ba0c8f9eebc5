"""Yes-or-no questions: both terms of the binary cross-entropy."""

from __future__ import annotations

import math

import pytest
import torch

from napari_medssl.losses.multi_label import multi_label_cross_entropy


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_is_the_mean_of_both_terms(dtype: torch.dtype) -> None:
    logits = torch.randn(4, 8, dtype=dtype, generator=torch.Generator().manual_seed(0)) * 3
    labels = (torch.arange(32).view(4, 8) % 3 == 0).to(dtype)
    total = 0.0
    for logit, y in zip(logits.flatten().tolist(), labels.flatten().tolist(), strict=True):
        p = 1 / (1 + math.exp(-logit))
        total -= y * math.log(p) + (1 - y) * math.log(1 - p)
    assert float(multi_label_cross_entropy(logits, labels)) == pytest.approx(total / 32, rel=1e-5)


def test_always_yes_is_not_best() -> None:
    labels = torch.tensor([[1.0, 0.0]])
    yes, right = torch.tensor([[9.0, 9.0]]), torch.tensor([[9.0, -9.0]])
    assert multi_label_cross_entropy(yes, labels) > 4
    assert multi_label_cross_entropy(right, labels) < 0.01


def test_gradient_is_that_of_finite_differences_and_autocast_changes_nothing() -> None:
    logits = torch.randn(3, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1), requires_grad=True)
    labels = torch.ones(3, 8).double()
    assert torch.autograd.gradcheck(lambda x: multi_label_cross_entropy(x, labels), (logits,))
    half = logits.detach().bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        inside = multi_label_cross_entropy(half, labels.bfloat16())
    assert inside.dtype == torch.float32
    assert torch.equal(inside, multi_label_cross_entropy(half.float(), labels.float()))


def test_positives_can_weigh_more() -> None:
    logits, labels = torch.tensor([[0.3, -1.0], [2.0, 0.5]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    weight = torch.tensor([4.0, 0.5])
    by_hand = [
        4.0 * -math.log(1 / (1 + math.exp(-0.3))), -math.log(1 - 1 / (1 + math.exp(1.0))),
        -math.log(1 - 1 / (1 + math.exp(-2.0))), 0.5 * -math.log(1 / (1 + math.exp(-0.5))),
    ]  # fmt: skip
    found = multi_label_cross_entropy(logits, labels, positive_weight=weight)
    assert float(found) == pytest.approx(sum(by_hand) / 4, rel=1e-5)
