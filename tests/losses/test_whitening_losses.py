"""W-MSE, ZeroCL and ARB against other ways to whiten and loops over rows."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from napari_medssl.errors import SettingsError
from napari_medssl.losses.arb import arb
from napari_medssl.losses.w_mse import w_mse
from napari_medssl.losses.whitening import standardised, whiten, zca
from napari_medssl.losses.zero_cl import zero_cl, zero_fcl, zero_icl


def _views(rows: int = 12, width: int = 4, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    z = torch.randn(rows, width, generator=g, dtype=dtype) @ torch.randn(width, width, generator=g, dtype=dtype)
    return z, z + 0.5 * torch.randn(rows, width, generator=g, dtype=dtype)


def test_whitened_embeddings_have_the_identity_as_covariance() -> None:
    white = whiten(_views()[0] + 7, ridge=0.0)
    assert torch.allclose(torch.cov(white.T), torch.eye(4, dtype=torch.float64), atol=1e-9)
    assert torch.allclose(white.mean(0), torch.zeros(4, dtype=torch.float64), atol=1e-9)


def test_whitening_solves_the_inverse_covariance() -> None:
    z, _ = _views()
    white, centred = whiten(z, ridge=0.0), z - z.mean(0)
    # W^T W is the inverse covariance, so lengths are Mahalanobis lengths, whichever root is taken.
    expected = (centred @ torch.linalg.inv(torch.cov(z.T)) * centred).sum(1)
    assert torch.allclose(white.square().sum(1), expected)


def test_w_mse_part_by_part() -> None:
    z1, z2 = _views(20)
    pieces = [(slice(0, 7)), slice(7, 14), slice(14, 20)]  # floor(20 / 6) = 3 parts, nearly equal
    total = 0.0
    for piece in pieces:
        a, b = whiten(z1[piece]), whiten(z2[piece])
        for x, y in zip(a, b, strict=True):
            total += 2 - 2 * float(x @ y / (x.norm() * y.norm()))
    assert float(w_mse(z1, z2, part=6)) == pytest.approx(total / 20)
    assert float(w_mse(z1, z2)) != pytest.approx(total / 20, rel=1e-3)


def test_w_mse_says_when_the_batch_is_too_small() -> None:
    with pytest.raises(SettingsError, match="whitens 4 embeddings of 4 numbers"):
        w_mse(*_views(4))


def test_w_mse_survives_total_collapse() -> None:
    z = torch.ones(8, 3, requires_grad=True)
    loss = w_mse(z, 2 * z)
    loss.backward()
    assert z.grad is not None
    assert bool(z.grad.isfinite().all())


def _root_inverse(covariance: Tensor) -> Tensor:
    """By Denman and Beavers' iteration, which knows no eigenvectors."""
    y, z = covariance, torch.eye(len(covariance), dtype=covariance.dtype)
    for _ in range(60):
        y, z = (y + torch.linalg.inv(z)) / 2, (z + torch.linalg.inv(y)) / 2
    return z


def _scaled(row: Tensor) -> Tensor:
    return (row - row.mean()) / row.std()


def _matrix(rows: Tensor, shrink: float) -> Tensor:
    eye = torch.eye(len(rows), dtype=rows.dtype)
    return _root_inverse((1 - shrink) * rows @ rows.T / (rows.shape[1] - 1) + shrink * eye)


def _diagonal_by_loop(z1: Tensor, z2: Tensor, shrink: float, matrices: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """Mean of (1 - agreement)^2 over the rows; `matrices` instead of the whitening ones of these rows."""
    rows = [torch.stack([_scaled(r) for r in z]) for z in (z1, z2)]
    m1, m2 = matrices or tuple(_matrix(r.detach(), shrink) for r in rows)
    h1, h2 = m1 @ rows[0], m2 @ rows[1]
    total = torch.zeros((), dtype=z1.dtype)
    for a, b in zip(h1, h2, strict=True):
        total = total + (1 - a @ b / (len(a) - 1)) ** 2
    return total / len(h1)


def test_zca_is_the_nearest_whitening() -> None:
    rows = standardised(_views()[0].T)
    white = zca(rows, shrink=0.0)
    assert torch.allclose(white @ white.T / 11, torch.eye(4, dtype=torch.float64), atol=1e-8)
    turn = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1)))[0]
    assert float((white - rows).norm()) < float((turn @ white - rows).norm())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_zero_losses_as_loops(dtype: torch.dtype) -> None:
    z1, z2 = _views(5, 8, dtype)
    wide = (z1.double(), z2.double())
    icl = float(_diagonal_by_loop(*wide, 0.1))
    fcl = float(_diagonal_by_loop(wide[0].T, wide[1].T, 0.1))
    assert float(zero_icl(z1, z2)) == pytest.approx(icl, rel=1e-3)
    assert float(zero_fcl(z1, z2)) == pytest.approx(fcl, rel=1e-3)
    assert float(zero_cl(z1, z2)) == pytest.approx(icl + fcl, rel=1e-3)


def _slopes(loss: Callable[[Tensor, Tensor], Tensor], z1: Tensor, z2: Tensor) -> list[Tensor]:
    inputs = [z.clone().requires_grad_() for z in (z1, z2)]
    return list(torch.autograd.grad(loss(*inputs), inputs))


def test_zca_of_more_rows_than_samples_is_the_same_matrix() -> None:
    rows = standardised(_views(5, 8)[0].T)  # (8, 5)
    assert torch.allclose(zca(rows, shrink=0.1), _matrix(rows, 0.1) @ rows, atol=1e-4)
    flat = zca(torch.zeros(6, 3), shrink=0.1)
    assert torch.equal(flat, torch.zeros(6, 3))


@pytest.mark.parametrize("turned", [False, True])
def test_zero_losses_have_the_gradient_of_fixed_matrices(turned: bool) -> None:
    z1, z2 = _views(5, 8)
    a, b = (z1.T, z2.T) if turned else (z1, z2)
    fixed = tuple(_matrix(torch.stack([_scaled(r) for r in z]), 0.1) for z in (a, b))

    def by_loop(x: Tensor, y: Tensor) -> Tensor:
        return _diagonal_by_loop(x, y, 0.1, fixed)  # type: ignore[arg-type]

    inputs = tuple(z.clone().requires_grad_() for z in (a, b))
    assert torch.autograd.gradcheck(by_loop, inputs)
    for ours, theirs in zip(_slopes(zero_fcl if turned else zero_icl, z1, z2), _slopes(by_loop, a, b), strict=True):
        assert torch.allclose(ours.T if turned else ours, theirs, atol=1e-4)


def _arb_by_loop(z1: Tensor, z2: Tensor, size: int) -> Tensor:
    """The nearest orthogonal vectors from the singular value decomposition (Procrustes)."""
    rows = [torch.stack([_scaled(c) for c in z.T]) for z in (z1, z2)]
    total = torch.zeros((), dtype=z1.dtype)
    for own, other in (rows, rows[::-1]):
        for start in range(0, len(own), size):
            u, _, vt = torch.linalg.svd(other[start : start + size].detach(), full_matrices=False)
            base = u @ vt * (other.shape[1] - 1) ** 0.5
            for a, b in zip(own[start : start + size], base, strict=True):
                total = total + (1 - a @ b / (len(a) - 1)) ** 2
    return total / (2 * len(rows[0]))


@pytest.mark.parametrize("group", [0, 2, 4])
def test_arb_as_a_loop(group: int) -> None:
    z1, z2 = _views()
    expected = float(_arb_by_loop(z1, z2, group or 4))
    assert float(arb(z1, z2, group=group, shrink=0.0)) == pytest.approx(expected, rel=1e-3)
    assert float(arb(z1, z2, group=group)) == pytest.approx(expected, rel=1e-2)
    for ours, theirs in zip(
        _slopes(lambda a, b: arb(a, b, group=group, shrink=0.0), z1, z2),
        _slopes(lambda a, b: _arb_by_loop(a, b, group or 4), z1, z2),
        strict=True,
    ):
        assert torch.allclose(ours, theirs, atol=1e-4)


def test_arb_vanishes_for_uncorrelated_features_that_agree() -> None:
    columns = torch.linalg.qr(torch.cat([torch.ones(9, 1), torch.randn(9, 4)], 1).double())[0][:, 1:]
    assert float(arb(columns, 3 * columns, shrink=0.0)) == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize(("rows", "group"), [(4, 0), (12, 3)])
def test_arb_says_which_groups_are_possible(rows: int, group: int) -> None:
    with pytest.raises(SettingsError, match="divides the width and is smaller than the batch"):
        arb(*_views(rows), group=group)
