"""Barlow Twins, VICReg, LogDet and the cosine loss against loops, closed forms and each other."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from napari_medssl.losses.barlow import barlow_twins
from napari_medssl.losses.cosine import cosine_regression
from napari_medssl.losses.logdet import logdet, logdet_divergence
from napari_medssl.losses.vicreg import vicreg


def _views(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    z = torch.randn(7, 3, generator=g, dtype=dtype)
    return z, z + 0.5 * torch.randn(7, 3, generator=g, dtype=dtype)


def _correlation(a: Tensor, b: Tensor) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / (a.norm() * b.norm()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_barlow_twins_as_a_loop(dtype: torch.dtype) -> None:
    z1, z2 = _views(dtype)
    total = 0.0
    for i in range(3):
        for j in range(3):
            c = _correlation(z1[:, i], z2[:, j])
            total += (1 - c) ** 2 if i == j else 5e-3 * c**2
    assert float(barlow_twins(z1, z2)) == pytest.approx(total, rel=1e-3)  # 1e-5 on the variances


def test_barlow_twins_of_a_constant_dimension() -> None:
    assert float(barlow_twins(torch.ones(4, 3), torch.ones(4, 3))) == pytest.approx(3)


def test_barlow_twins_does_not_see_scale_and_offset() -> None:
    z1, z2 = _views()
    assert float(barlow_twins(100 * z1 + 5, 100 * z2)) == pytest.approx(float(barlow_twins(10 * z1, 10 * z2)), rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_vicreg_as_a_loop(dtype: torch.dtype) -> None:
    z1, z2 = _views(dtype)
    s = sum(float((z1[n, i] - z2[n, i]) ** 2) for n in range(7) for i in range(3)) / 21
    v = c = 0.0
    for z in (0.5 * z1, 0.5 * z2):
        for i in range(3):
            v += max(0.0, 1 - math.sqrt(float(z[:, i].var()) + 1e-4)) / 6
            for j in range(3):
                covariance = float(((z[:, i] - z[:, i].mean()) * (z[:, j] - z[:, j].mean())).sum()) / 6
                c += covariance**2 / 3 if i != j else 0
    assert v > 0
    assert float(vicreg(0.5 * z1, 0.5 * z2)) == pytest.approx(25 * s / 4 + 25 * v + c, rel=1e-4)
    weighted = vicreg(0.5 * z1, 0.5 * z2, invariance=1, variance=2, covariance=3)
    assert float(weighted) == pytest.approx(s / 4 + 2 * v + 3 * c, rel=1e-4)


def test_vicreg_of_one_point() -> None:
    same = torch.ones(5, 4)
    assert float(vicreg(same, same)) == pytest.approx(25 * 0.99)  # the root of 1e-4 is 0.01


@pytest.mark.parametrize("rows", [3, 7])
def test_logdet_divergence_by_eigenvalues(rows: int) -> None:
    z = torch.cat(_views(), 1)[:rows]  # (3 or 7, 6): fewer and more rows than dimensions
    eigenvalues = torch.linalg.eigvalsh(torch.cov(z.T)) + 1e-4
    expected = float((eigenvalues - eigenvalues.log() - 1).mean())
    assert float(logdet_divergence(z)) == pytest.approx(expected, rel=1e-9)


def test_logdet_divergence_vanishes_at_the_identity() -> None:
    q = torch.linalg.qr(torch.cat([torch.ones(9, 1), torch.randn(9, 4)], 1).double())[0][:, 1:]
    assert float(logdet_divergence(q * math.sqrt(8), ridge=0.0)) == pytest.approx(0, abs=1e-9)


def test_logdet_grows_without_bound_where_soft_decorrelation_stays() -> None:
    z, _ = _views()
    sizes = [float(logdet_divergence(torch.cat([z, s * z[:, :1]], 1), ridge=0.0)) for s in (1e-12, 0.5)]
    assert not math.isfinite(sizes[0]) or sizes[0] > 10
    thin = [float(logdet_divergence(z * torch.tensor([1, 1, s]), ridge=0.0)) for s in (1e-1, 1e-3, 1e-5)]
    assert thin[1] - thin[0] == pytest.approx(2 * math.log(100) / 3, rel=0.05)
    assert thin[2] - thin[1] == pytest.approx(2 * math.log(100) / 3, rel=0.05)


def test_logdet_adds_the_distance_of_the_views() -> None:
    z1, z2 = _views()
    regular = (float(logdet_divergence(z1)) + float(logdet_divergence(z2))) / 2
    assert float(logdet(z1, z2, weight=2)) == pytest.approx(float((z1 - z2).square().mean()) + 2 * regular)
    assert math.isfinite(float(logdet(z1[:2], z2[:2])))  # fewer rows than dimensions


def test_cosine_regression_values_and_stopped_gradient() -> None:
    p = torch.tensor([[1.0, 0.0], [1.0, 1.0], [2.0, 0.0]], requires_grad=True)
    t = torch.tensor([[5.0, 0.0], [-1.0, 1.0], [-3.0, 0.0]], requires_grad=True)
    loss = cosine_regression(p, t)
    assert float(loss.detach()) == pytest.approx((0 + 2 + 4) / 3)
    loss.backward()
    assert t.grad is None
    assert p.grad is not None
    points = torch.randn(3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    assert torch.autograd.gradcheck(lambda a: cosine_regression(a, t.detach().double()), (points,))
