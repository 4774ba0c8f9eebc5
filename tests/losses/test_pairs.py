"""Pairs of a batch against a plain loop over all of them."""

from __future__ import annotations

import pytest
import torch

from napari_medssl.errors import SettingsError
from napari_medssl.losses.pairs import cosines, negative, negative_mean, not_self, positives


def test_counts_of_pairs_at_64() -> None:  # E-12, B4-03
    matrix = torch.zeros(128, 128)
    assert matrix.numel() == 16_384
    assert int((~not_self(matrix)).sum()) == 128
    assert len(positives(matrix)) == 128
    assert int(negative(matrix).sum()) == 16_128
    assert int((not_self(matrix) & ~negative(matrix)).sum()) == 128  # only the positives are left


def test_who_belongs_to_whom() -> None:
    n = 3
    matrix = torch.arange(36.0).view(6, 6)
    partner = [(i + n) % (2 * n) for i in range(2 * n)]
    assert positives(matrix).tolist() == [float(matrix[i, partner[i]]) for i in range(6)]
    loop = [[j not in (i, partner[i]) for j in range(6)] for i in range(6)]
    assert negative(matrix).tolist() == loop
    values = [float(matrix[i, j]) for i in range(6) for j in range(6) if loop[i][j]]
    assert float(negative_mean(matrix)) == pytest.approx(sum(values) / len(values))


def test_cosines_of_each_pair() -> None:
    torch.manual_seed(0)
    z1, z2 = torch.randn(3, 5), 7 * torch.randn(3, 5)
    z = [*z1, *z2]
    c = cosines(z1, z2)
    for i in range(6):
        for j in range(6):
            assert float(c[i, j]) == pytest.approx(float(z[i] @ z[j] / z[i].norm() / z[j].norm()), abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_cosines_are_not_rounded_under_autocast(dtype: torch.dtype) -> None:
    z = torch.randn(4, 16, generator=torch.Generator().manual_seed(0)).to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = cosines(z, z)
    assert found.dtype == torch.float32
    assert torch.equal(found, cosines(z.float(), z.float()))


def test_an_embedding_of_zeros_has_a_finite_gradient() -> None:
    z1 = torch.zeros(2, 4, requires_grad=True)
    cosines(z1, torch.ones(2, 4)).sum().backward()
    assert z1.grad is not None
    assert torch.isfinite(z1.grad).all()


def test_one_example_is_refused() -> None:
    with pytest.raises(SettingsError, match="batch of at least 2"):
        cosines(torch.ones(1, 4), torch.ones(1, 4))


def test_unlike_views_are_refused() -> None:
    with pytest.raises(ValueError, match="two of"):
        cosines(torch.ones(2, 4), torch.ones(3, 4))
    with pytest.raises(ValueError, match="two of"):
        cosines(torch.ones(2, 4, 1), torch.ones(2, 4, 1))
