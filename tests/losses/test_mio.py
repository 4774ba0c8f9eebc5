"""The MIO losses against loops over pairs and the relations between them."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from napari_medssl.errors import SettingsError
from napari_medssl.losses.mio import mio_v1, mio_v2, mio_v3, refuse_low
from napari_medssl.losses.pairs import cosines, positives
from napari_medssl.losses.temperature import AlignmentTemperature, Attached, Constant, Temperature
from napari_medssl.losses.temperature_profiles import CosineProfile

LOSSES = [mio_v1, mio_v2, mio_v3]


def views(n: int = 4, d: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(6)
    z = torch.randn(n, d, generator=generator, dtype=torch.float64)
    return z, z + torch.randn(n, d, generator=generator, dtype=torch.float64)


def loop(loss, z1: Tensor, z2: Tensor, temperature: Temperature) -> float:
    z, n = [*z1, *z2], len(z1)

    def logit(i: int, j: int) -> float:
        c = torch.cosine_similarity(z[i], z[j], dim=0)
        return float(c / temperature(c))

    attraction = {mio_v1: lambda x: math.log1p(math.exp(-x)), mio_v2: lambda x: -x, mio_v3: lambda x: -x}[loss]
    repulsion = {mio_v1: lambda x: math.log1p(math.exp(x)), mio_v3: math.exp}.get(
        loss, lambda x: math.log1p(math.exp(x))
    )
    total = sum(attraction(logit(i, i + n)) for i in range(n)) / n
    count = 4 * n * n - 4 * n
    for i in range(2 * n):
        for j in range(2 * n):
            if j not in (i, (i + n) % (2 * n)):
                total += repulsion(logit(i, j)) / count
    return total


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("temperature", [Constant(0.2), CosineProfile(0.1, 0.2)])
@pytest.mark.parametrize(("dtype", "rel"), [(torch.float64, 1e-12), (torch.float32, 1e-4)])
def test_is_the_loop_over_pairs(loss, temperature, dtype, rel) -> None:
    z1, z2 = views()
    found = loss(z1.to(dtype), z2.to(dtype), temperature)
    assert found.dtype == dtype
    assert float(found) == pytest.approx(loop(loss, z1, z2, temperature), rel=rel)


@pytest.mark.parametrize(("loss", "expected"), [(mio_v1, 0.69986), (mio_v2, -4.30685), (mio_v3, -4.0)])
def test_values_at_the_goal(loss, expected: float) -> None:  # E-15
    z = torch.eye(5, dtype=torch.float64)  # partners alike, all others at right angles
    assert float(loss(z, z, Constant(0.2))) == pytest.approx(expected, abs=5e-6)


def test_v1_is_v2_and_the_repulsion_of_partners() -> None:  # E-13, equation 5.17
    z1, z2 = views()
    c = positives(cosines(z1, z2))
    repulsion = float(torch.log1p(torch.exp(c / 0.2)).mean())
    assert float(mio_v1(z1, z2)) - float(mio_v2(z1, z2)) == pytest.approx(repulsion)


@pytest.mark.parametrize("seed", range(5))
def test_v3_is_never_below_v2(seed: int) -> None:  # E-14
    z1, z2 = torch.randn(2, 6, 3, generator=torch.Generator().manual_seed(seed))
    assert float(mio_v3(z1, z2)) >= float(mio_v2(z1, z2))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("temperature", [Constant(0.2), Attached(CosineProfile(0.1, 0.3))])
def test_gradient_by_differences(loss, temperature) -> None:
    z1, z2 = (z.requires_grad_() for z in views(3, 4))
    assert torch.autograd.gradcheck(lambda a, b: loss(a, b, temperature), (z1, z2))


@pytest.mark.parametrize("loss", LOSSES)
def test_order_and_rotation_do_not_matter(loss) -> None:
    z1, z2 = views()
    expected = float(loss(z1, z2))
    order = torch.tensor([2, 0, 3, 1])
    turn = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64))[0]
    assert float(loss(z1[order], z2[order])) == pytest.approx(expected)
    assert float(loss(z2, z1)) == pytest.approx(expected)
    assert float(loss(z1 @ turn, 2 * z2 @ turn)) == pytest.approx(expected)


@pytest.mark.parametrize("loss", LOSSES)
def test_half_precision_is_computed_in_float32(loss) -> None:
    z1, z2 = (z.to(torch.float16) for z in views())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = loss(z1, z2, Constant(0.1))
    assert found.dtype == torch.float32
    assert float(found) == float(loss(z1.float(), z2.float(), Constant(0.1)))


def test_v3_refuses_temperatures_at_which_it_collapses() -> None:  # B5-20
    assert math.exp(1 / 0.07) == pytest.approx(1.6e6, rel=0.01)  # E-16: against e^5 = 148 at the published 0.2
    assert math.exp(1 / 0.2) == pytest.approx(148, abs=0.5)
    z1, z2 = views()
    for low in (Constant(0.07), CosineProfile(0.07, 0.2), Attached(CosineProfile(0.07, 0.2)), AlignmentTemperature()):
        with pytest.raises(SettingsError, match="at least 0.1"):
            mio_v3(z1, z2, low)
    refuse_low(Constant(0.1))
    assert torch.isfinite(mio_v2(z1, z2, Constant(0.07)))
