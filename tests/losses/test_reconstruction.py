"""Restoring losses against a plain loop, by finite differences, and where they must not look."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from napari_medssl.losses.reconstruction import masked_l1, masked_mse

LOSSES = [(masked_mse, lambda e: e * e), (masked_l1, abs)]


def example(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    prediction, target = torch.randn(2, 2, 3, 4, 5, generator=g, dtype=dtype).unbind(1)
    weight = (torch.rand(2, 1, 4, 5, generator=g) < 0.5).to(dtype)
    return prediction, target, weight


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("loss", "error"), LOSSES)
def test_equals_a_plain_loop(loss: Callable[..., Tensor], error: Callable[[float], float], dtype: torch.dtype) -> None:
    prediction, target, weight = example(dtype)
    total = count = 0.0
    for b, c, y, x in torch.cartesian_prod(*(torch.arange(n) for n in prediction.shape)).tolist():
        if weight[b, 0, y, x]:
            total += error(prediction[b, c, y, x].item() - target[b, c, y, x].item())
            count += 1
    found = loss(prediction, target, weight)
    assert found.dtype == dtype
    assert found.item() == pytest.approx(total / count, rel=1e-5)


@pytest.mark.parametrize(("loss", "error"), LOSSES)
def test_gradient_only_where_hidden(loss: Callable[..., Tensor], error: object) -> None:
    prediction, target, weight = example(torch.float64)
    prediction.requires_grad_()
    loss(prediction, target, weight).backward()
    assert prediction.grad is not None
    assert torch.equal(prediction.grad != 0, weight.bool().expand_as(prediction))
    assert torch.autograd.gradcheck(loss, (prediction, target, weight))


@pytest.mark.parametrize(("loss", "error"), LOSSES)
def test_no_weight_is_weight_one(loss: Callable[..., Tensor], error: object) -> None:
    prediction, target, weight = example()
    torch.testing.assert_close(loss(prediction, target), loss(prediction, target, torch.ones_like(weight)))
    torch.testing.assert_close(loss(prediction, target, weight), loss(prediction, target, 7 * weight))
    assert loss(prediction, target, 0 * weight).item() == 0


@pytest.mark.parametrize(("loss", "error"), LOSSES)
def test_the_order_of_the_batch_does_not_matter(loss: Callable[..., Tensor], error: object) -> None:
    prediction, target, weight = example()
    torch.testing.assert_close(
        loss(prediction, target, weight), loss(*(t.flip(0) for t in (prediction, target, weight)))
    )


@pytest.mark.parametrize(("loss", "error"), LOSSES)
def test_half_precision_is_left(loss: Callable[..., Tensor], error: object) -> None:
    prediction, target, weight = example()
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(prediction.bfloat16(), target, weight)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, loss(prediction.bfloat16().float(), target, weight))
