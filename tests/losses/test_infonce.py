"""InfoNCE against a loop over anchors, closed forms, differences and invariances."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from napari_medssl.losses.infonce import info_nce
from napari_medssl.losses.pairs import cosines
from napari_medssl.losses.temperature import Attached, Constant, Temperature
from napari_medssl.losses.temperature_profiles import CosineProfile

TEMPERATURES = [Constant(0.1), CosineProfile(0.1, 0.2), Attached(CosineProfile(0.1, 0.2))]


def views(n: int = 4, d: int = 6, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    z = torch.randn(n, d, generator=generator, dtype=torch.float64)
    return z.to(dtype), (z + torch.randn(n, d, generator=generator, dtype=torch.float64)).to(dtype)


def loop(z1: Tensor, z2: Tensor, temperature: Temperature) -> float:
    z, n = [*z1, *z2], len(z1)
    total = 0.0
    for i in range(2 * n):
        terms = {}
        for j in range(2 * n):
            if j != i:
                c = torch.cosine_similarity(z[i], z[j], dim=0)
                terms[j] = math.exp(float(c / temperature(c)))
        total -= math.log(terms[(i + n) % (2 * n)] / sum(terms.values()))
    return total / (2 * n)


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize(("dtype", "rel"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_is_the_loop_over_anchors(temperature: Temperature, dtype: torch.dtype, rel: float) -> None:
    z1, z2 = views()
    found = info_nce(z1.to(dtype), z2.to(dtype), temperature)
    assert found.dtype == dtype
    assert float(found) == pytest.approx(loop(z1, z2, temperature), rel=rel)


@pytest.mark.parametrize("n", [2, 5, 64])
def test_all_similarities_equal(n: int) -> None:  # E-28
    z = torch.ones(n, 3, dtype=torch.float64)
    assert float(info_nce(z, z, Constant(0.2))) == pytest.approx(math.log(2 * n - 1))


def test_log_of_a_sum_is_no_sum() -> None:  # E-27, B4-10: two logits of 1 give 1.69, less than their sum
    z = torch.ones(2, 3, dtype=torch.float64)  # three other views, each with c = 1 and tau = 1
    assert float(info_nce(z, z, Constant(1.0))) + 1 == pytest.approx(math.log(3 * math.e))
    assert math.log(2 * math.e) == pytest.approx(1.693, abs=1e-3)
    assert math.log(2 * math.e) < 2


@pytest.mark.parametrize("temperature", [TEMPERATURES[0], TEMPERATURES[2]])
def test_gradient_by_differences(temperature: Temperature) -> None:
    z1, z2 = (z.requires_grad_() for z in views(3, 4))
    assert torch.autograd.gradcheck(lambda a, b: info_nce(a, b, temperature), (z1, z2))


def test_detached_gradient_is_that_of_fixed_temperatures() -> None:
    class Fixed:
        least = 0.1

        def __init__(self, tau: Tensor) -> None:
            self.tau = tau

        def __call__(self, cosines: Tensor) -> Tensor:
            return self.tau

    z1, z2 = views()
    fixed = Fixed(CosineProfile(0.1, 0.2)(cosines(z1, z2)))
    gradients = []
    for temperature in (fixed, CosineProfile(0.1, 0.2), Attached(CosineProfile(0.1, 0.2))):
        z = z1.clone().requires_grad_()
        (g,) = torch.autograd.grad(info_nce(z, z2, temperature), z)
        gradients.append(g)
    torch.testing.assert_close(gradients[0], gradients[1])
    assert not torch.allclose(gradients[1], gradients[2])


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_order_rotation_and_length_do_not_matter(temperature: Temperature) -> None:
    z1, z2 = views()
    expected = float(info_nce(z1, z2, temperature))
    order = torch.tensor([2, 0, 3, 1])
    turn = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64))[0]
    assert float(info_nce(z1[order], z2[order], temperature)) == pytest.approx(expected)
    assert float(info_nce(z2, z1, temperature)) == pytest.approx(expected)
    assert float(info_nce(z1 @ turn, z2 @ turn, temperature)) == pytest.approx(expected)
    assert float(info_nce(3 * z1, 0.1 * z2, temperature)) == pytest.approx(expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    z1, z2 = views(dtype=dtype)
    expected = info_nce(z1.float(), z2.float(), Constant(0.1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = info_nce(z1, z2, Constant(0.1))
    assert found.dtype == torch.float32
    assert float(found) == float(expected)
