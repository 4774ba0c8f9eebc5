"""Binary contrastive losses against loops over all ordered pairs."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from napari_medssl.losses.binary import binary_contrastive, combo, euclidean_info_nce
from napari_medssl.losses.infonce import info_nce
from napari_medssl.losses.mio import mio_v1
from napari_medssl.losses.temperature import AlignmentTemperature, Attached, Constant, Temperature
from napari_medssl.losses.temperature_profiles import CosineProfile

LOSSES = [binary_contrastive, euclidean_info_nce, combo]


def views(n: int = 4, d: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    z = torch.randn(n, d, generator=generator, dtype=torch.float64)
    return z, z + torch.randn(n, d, generator=generator, dtype=torch.float64)


def terms(z1: Tensor, z2: Tensor, temperature: Temperature) -> tuple[list[float], list[float]]:
    """-ln p of every positive and -ln(1 - p) of every negative ordered pair."""
    z, n = [*z1, *z2], len(z1)
    same, different = [], []
    for i in range(2 * n):
        for j in range(2 * n):
            if i == j:
                continue
            c = torch.cosine_similarity(z[i], z[j], dim=0)
            p = 1 / (1 + math.exp(-float(c / temperature(c))))
            if j == (i + n) % (2 * n):
                same.append(-math.log(p))
            else:
                different.append(-math.log(1 - p))
    return same, different


@pytest.mark.parametrize("temperature", [Constant(0.25), CosineProfile(0.1, 0.3)])
@pytest.mark.parametrize(("dtype", "rel"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_reductions_are_loops_over_pairs(temperature: Temperature, dtype: torch.dtype, rel: float) -> None:
    z1, z2 = views()
    same, different = terms(z1, z2, temperature)
    assert (len(same), len(different)) == (8, 48)
    a, b = z1.to(dtype), z2.to(dtype)
    pooled, printed, balanced = (
        float(binary_contrastive(a, b, temperature, reduction=r)) for r in ("pairs", "printed", "balanced")
    )
    assert pooled == pytest.approx((sum(same) + sum(different)) / 56, rel=rel)
    assert printed == pytest.approx((sum(same) + sum(different)) / 64, rel=rel)
    assert balanced == pytest.approx(sum(same) / 8 + sum(different) / 48, rel=rel)
    assert float(binary_contrastive(a, b, temperature)) == pooled


@pytest.mark.parametrize(("reduction", "expected"), [("pairs", 1), ("balanced", 2), ("printed", 7 / 8)])
def test_cosines_of_zero_give_ln_2(reduction: str, expected: float) -> None:  # E-28
    z = torch.eye(8, dtype=torch.float64)
    loss = binary_contrastive(z[:4], z[4:], reduction=reduction)
    assert float(loss) == pytest.approx(expected * math.log(2))


def test_balanced_is_mio_v1() -> None:  # B4-05
    z1, z2 = views()
    assert float(binary_contrastive(z1, z2, reduction="balanced")) == float(mio_v1(z1, z2, Constant(0.25)))


def test_euclidean_loss_is_a_loop_over_distances() -> None:  # equation 4.17, B4-13
    z1, z2 = views()
    z = torch.nn.functional.normalize(torch.cat([z1, z2]), dim=1)
    total = 0.0
    for i in range(8):
        near = {j: math.exp(-float((z[i] - z[j]).square().sum()) / 0.33) for j in range(8) if j != i}
        total -= math.log(near[(i + 4) % 8] / sum(near.values()))
    assert float(euclidean_info_nce(z1, z2)) == pytest.approx(total / 8)
    assert float(euclidean_info_nce(z1, z2)) == pytest.approx(float(info_nce(z1, z2, Constant(0.165))))


def test_euclidean_loss_takes_the_temperature_of_each_pair() -> None:
    z1, z2 = views()
    profile = CosineProfile(0.2, 0.4)
    z = torch.nn.functional.normalize(torch.cat([z1, z2]), dim=1)
    total = 0.0
    for i in range(8):
        near = {j: math.exp(-float((2 - 2 * z[i] @ z[j]) / profile(z[i] @ z[j]))) for j in range(8) if j != i}
        total -= math.log(near[(i + 4) % 8] / sum(near.values()))
    assert float(euclidean_info_nce(z1, z2, profile)) == pytest.approx(total / 8)
    aligned = AlignmentTemperature(0.3)
    batch = Constant(float(aligned(z @ z.T)))
    assert float(euclidean_info_nce(z1, z2, aligned)) == pytest.approx(float(euclidean_info_nce(z1, z2, batch)))


def test_combo_is_the_sum_as_printed() -> None:  # equation 4.18
    z1, z2 = views()
    same, different = terms(z1, z2, Constant(0.25))
    contr = float(euclidean_info_nce(z1, z2, Constant(0.33)))
    assert float(combo(z1, z2)) == pytest.approx(sum(same) / 8 + sum(different) / 48 + contr)
    pooled = float(combo(z1, z2, weight=0.5, reduction="pairs"))
    assert pooled == pytest.approx((sum(same) + sum(different)) / 56 + 0.5 * contr)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("temperature", [Constant(0.25), Attached(CosineProfile(0.1, 0.3))])
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
    z1, z2 = (z.to(torch.bfloat16) for z in views())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = loss(z1, z2)
    assert found.dtype == torch.float32
    assert float(found) == float(loss(z1.float(), z2.float()))
