"""MACL against a loop over anchors; its gradient is the one of DCL."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from napari_medssl.losses.dcl import dcl
from napari_medssl.losses.macl import macl
from napari_medssl.losses.temperature import AlignmentTemperature, Attached, Constant


def views(n: int = 4, d: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(7)
    z = torch.randn(n, d, generator=generator, dtype=torch.float64)
    return z, z + torch.randn(n, d, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(("dtype", "rel"), [(torch.float64, 1e-9), (torch.float32, 1e-4)])
def test_is_the_loop_over_anchors(dtype: torch.dtype, rel: float) -> None:
    z1, z2 = views()
    z = [*z1, *z2]
    tau = 0.1 * (1 + 0.5 * float(torch.cosine_similarity(z1, z2).mean()))
    total = 0.0
    for i in range(8):
        near = {j: math.exp(float(torch.cosine_similarity(z[i], z[j], dim=0)) / tau) for j in range(8) if j != i}
        share = near[(i + 4) % 8] / sum(near.values())
        total -= math.log(share) / (1 - share)
    found = macl(z1.to(dtype), z2.to(dtype))
    assert found.dtype == dtype
    assert float(found) == pytest.approx(total / 8, rel=rel)


def test_gradient_is_that_of_dcl_at_the_same_temperature() -> None:
    z1, z2 = views()
    tau = Constant(float(AlignmentTemperature()(_cosines(z1, z2))))
    a, b = z1.clone().requires_grad_(), z1.clone().requires_grad_()
    torch.testing.assert_close(torch.autograd.grad(macl(a, z2), a), torch.autograd.grad(dcl(b, z2, tau), b))


def test_attached_temperature_adds_its_own_pull() -> None:
    z1, z2 = views()
    a, b = z1.clone().requires_grad_(), z1.clone().requires_grad_()
    free = torch.autograd.grad(macl(a, z2, Attached(AlignmentTemperature())), a)[0]
    assert not torch.allclose(free, torch.autograd.grad(macl(b, z2), b)[0])


def test_order_and_rotation_do_not_matter() -> None:
    z1, z2 = views()
    expected = float(macl(z1, z2))
    order = torch.tensor([2, 0, 3, 1])
    turn = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64))[0]
    assert float(macl(z1[order], z2[order])) == pytest.approx(expected)
    assert float(macl(z2, z1)) == pytest.approx(expected)
    assert float(macl(z1 @ turn, 2 * z2 @ turn)) == pytest.approx(expected)


def test_finite_when_the_partner_is_certain() -> None:
    z = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], requires_grad=True)  # 1 - P is 0 in float32
    loss = macl(z, z.detach(), Constant(0.05))
    assert float(loss.detach()) == pytest.approx(1.0)  # -ln P / (1 - P) tends to 1
    (gradient,) = torch.autograd.grad(loss, z)
    assert torch.isfinite(gradient).all()


def test_half_precision_is_computed_in_float32() -> None:
    z1, z2 = (z.to(torch.float16) for z in views())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = macl(z1, z2)
    assert found.dtype == torch.float32
    assert float(found) == float(macl(z1.float(), z2.float()))


def _cosines(z1: Tensor, z2: Tensor) -> Tensor:
    z = torch.nn.functional.normalize(torch.cat([z1, z2]), dim=1)
    return z @ z.T
