"""The decoupled losses against loops over anchors and their relation to InfoNCE."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from napari_medssl.losses.dcl import dcl, dclw, partner_weights
from napari_medssl.losses.infonce import info_nce
from napari_medssl.losses.temperature import Attached, Constant, Temperature
from napari_medssl.losses.temperature_profiles import CosineProfile

TEMPERATURES = [Constant(0.1), CosineProfile(0.1, 0.2), Attached(CosineProfile(0.1, 0.2))]
LOSSES = [dcl, dclw]


def views(n: int = 4, d: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(4)
    z = torch.randn(n, d, generator=generator, dtype=torch.float64)
    return z, z + torch.randn(n, d, generator=generator, dtype=torch.float64)


def loop(z1: Tensor, z2: Tensor, temperature: Temperature, *, weighted: bool) -> float:
    z, n = [*z1, *z2], len(z1)
    near = [math.exp(float(torch.cosine_similarity(z1[i], z2[i], dim=0)) / 0.5) for i in range(n)]
    total = 0.0
    for i in range(2 * n):
        partner = (i + n) % (2 * n)
        weight = 2 - near[i % n] / (sum(near) / n) if weighted else 1.0
        c = torch.cosine_similarity(z[i], z[partner], dim=0)
        total -= weight * float(c / temperature(c))
        below = 0.0
        for j in range(2 * n):
            if j not in (i, partner):
                c = torch.cosine_similarity(z[i], z[j], dim=0)
                below += math.exp(float(c / temperature(c)))
        total += math.log(below)
    return total / (2 * n)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize(("dtype", "rel"), [(torch.float64, 1e-11), (torch.float32, 1e-4)])
def test_is_the_loop_over_anchors(loss, temperature, dtype, rel) -> None:
    z1, z2 = views()
    found = loss(z1.to(dtype), z2.to(dtype), temperature)
    assert found.dtype == dtype
    assert float(found) == pytest.approx(loop(z1, z2, temperature, weighted=loss is dclw), rel=rel)


def test_dcl_is_infonce_less_the_partner() -> None:
    # -ln(p / (p + s)) = -ln(p / s) + ln(1 + p / s): InfoNCE exceeds DCL by a softplus of each anchor's own DCL term.
    z = torch.eye(4, dtype=torch.float64)
    c = math.exp(1 / 0.2)
    assert float(dcl(z, z, Constant(0.2))) == pytest.approx(math.log(6) - 5)
    assert float(info_nce(z, z, Constant(0.2))) == pytest.approx(math.log(6) - 5 + math.log1p(c / 6))


def test_weights_have_mean_one_and_favour_distant_partners() -> None:
    weights = partner_weights(torch.tensor([0.9, 0.1, -0.5, 0.3], requires_grad=True), 0.5)
    assert not weights.requires_grad
    assert float(weights.mean()) == pytest.approx(1)
    assert weights.argsort().tolist() == [0, 3, 1, 2]


def test_equal_partners_make_dclw_dcl() -> None:
    z1, _ = views()
    assert float(dclw(z1, z1, Constant(0.1))) == pytest.approx(float(dcl(z1, z1, Constant(0.1))))


def test_gradient_by_differences() -> None:
    z1, z2 = (z.requires_grad_() for z in views(3, 4))
    for temperature in (TEMPERATURES[0], TEMPERATURES[2]):
        assert torch.autograd.gradcheck(lambda a, b, t=temperature: dcl(a, b, t), (z1, z2))


def test_dclw_gradient_takes_the_weights_as_given() -> None:
    z1, z2 = views(3, 4)
    c = torch.cosine_similarity(z1, z2)
    extra = 1 - partner_weights(c, 0.5)

    def expected(a: Tensor, b: Tensor) -> Tensor:
        return dcl(a, b, Constant(0.1)) + (extra * torch.cosine_similarity(a, b) / 0.1).mean()

    for which in (0, 1):
        a, b = (z.clone().requires_grad_() for z in (z1, z2))
        found = torch.autograd.grad(dclw(a, b, Constant(0.1)), (a, b)[which])
        wanted = torch.autograd.grad(expected(a, b), (a, b)[which])
        torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_order_and_rotation_do_not_matter(loss, temperature) -> None:
    z1, z2 = views()
    expected = float(loss(z1, z2, temperature))
    order = torch.tensor([2, 0, 3, 1])
    turn = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64))[0]
    assert float(loss(z1[order], z2[order], temperature)) == pytest.approx(expected)
    assert float(loss(z2, z1, temperature)) == pytest.approx(expected)
    assert float(loss(z1 @ turn, 2 * z2 @ turn, temperature)) == pytest.approx(expected)


@pytest.mark.parametrize("loss", LOSSES)
def test_half_precision_is_computed_in_float32(loss) -> None:
    z1, z2 = (z.to(torch.float16) for z in views())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = loss(z1, z2, Constant(0.07))
    assert found.dtype == torch.float32
    assert float(found) == float(loss(z1.float(), z2.float(), Constant(0.07)))
