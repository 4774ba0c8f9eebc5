"""InfoNCE against keys: against a loop, and its invariances."""

from __future__ import annotations

import math

import pytest
import torch

from napari_medssl.losses.keys import key_infonce


def some(rows: int, *, seed: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(rows, 5, dtype=dtype, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_is_the_loop_over_keys(dtype: torch.dtype) -> None:
    queries, keys, own = some(3, seed=0, dtype=dtype), some(6, seed=1, dtype=dtype), torch.tensor([2, 0, 5])
    found = key_infonce(queries, keys, own, temperature=0.2)
    for b in range(3):
        cosines = [float(q @ k / q.norm() / k.norm()) for q in queries[b : b + 1] for k in keys]
        total = sum(math.exp(c / 0.2) for c in cosines)
        assert float(found[b]) == pytest.approx(-math.log(math.exp(cosines[int(own[b])] / 0.2) / total), rel=1e-4)


def test_all_keys_alike_cost_the_log_of_their_number() -> None:
    keys = some(1, seed=0).expand(7, 5)
    loss = key_infonce(some(2, seed=1), keys, torch.tensor([0, 3]))
    torch.testing.assert_close(loss, torch.full((2,), math.log(7), dtype=torch.float64))


def test_turning_scaling_and_permuting_change_nothing() -> None:
    queries, keys, own = some(4, seed=0), some(4, seed=1), torch.arange(4)
    expected = key_infonce(queries, keys, own)
    turn = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2)))[0]
    torch.testing.assert_close(key_infonce(3 * queries @ turn, keys @ turn, own), expected)
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(key_infonce(queries[order], keys[order], own), expected[order])
    torch.testing.assert_close(key_infonce(queries[order], keys, order), expected[order])


def test_gradient_is_that_of_finite_differences_and_autocast_changes_nothing() -> None:
    queries, keys, own = some(3, seed=0).requires_grad_(), some(4, seed=1), torch.tensor([1, 2, 0])
    assert torch.autograd.gradcheck(lambda q: key_infonce(q, keys, own).mean(), (queries,))
    q, k = queries.detach().bfloat16(), keys.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        inside = key_infonce(q, k, own)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, key_infonce(q.float(), k.float(), own))
