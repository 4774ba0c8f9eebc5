"""InfoNCE against a queue, and PIRL's losses against loops over pairs."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_medssl.losses.keys import queue_infonce
from napari_medssl.losses.pirl import bank_nce, pirl


def _draw(seed: int = 0, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(n, 3, generator=g, dtype=dtype) for n in (4, 4, 5))  # type: ignore[return-value]


def _cosine(a: Tensor, b: Tensor) -> float:
    return float(a @ b) / (float(a.norm()) * float(b.norm()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_queue_infonce_as_a_loop(dtype: torch.dtype) -> None:
    q, k, queue = _draw(dtype=dtype)
    total = 0.0
    for i in range(4):
        own = math.exp(_cosine(q[i], k[i]) / 0.5)
        total -= math.log(own / (own + sum(math.exp(_cosine(q[i], n) / 0.5) for n in queue)))
    assert float(queue_infonce(q, k, queue, temperature=0.5)) == pytest.approx(total / 4, rel=1e-5)


def test_equal_cosines_give_the_logarithm_of_their_number() -> None:
    ones = torch.ones(2, 3)
    assert float(queue_infonce(ones, ones, torch.ones(7, 3))) == pytest.approx(math.log(8), rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bank_nce_as_a_loop(dtype: torch.dtype) -> None:
    z, memory, bank = _draw(1, dtype)
    total = 0.0
    for i in range(4):
        weights = [math.exp(_cosine(z[i], memory[i]) / 0.5)] + [math.exp(_cosine(z[i], n) / 0.5) for n in bank]
        shares = [w / sum(weights) for w in weights]
        total -= math.log(shares[0]) + sum(math.log(1 - s) for s in shares[1:])
    assert float(bank_nce(z, memory, bank, temperature=0.5)) == pytest.approx(total / 4, rel=1e-5)


def test_bank_nce_stays_finite_when_a_stranger_takes_all() -> None:
    z = torch.tensor([[1.0, 0.0]], requires_grad=True)
    loss = bank_nce(z, torch.tensor([[-1.0, 0.0]]), torch.tensor([[1.0, 0.0]]), temperature=0.01)
    loss.backward()
    assert math.isfinite(loss.item())
    assert z.grad is not None
    assert bool(z.grad.isfinite().all())


def test_pirl_weighs_puzzle_and_image() -> None:
    image, memory, bank = _draw(2)
    puzzle = _draw(3)[0]
    parts = bank_nce(puzzle, memory, bank), bank_nce(image, memory, bank)
    assert float(pirl(image, puzzle, memory, bank, share=0.25)) == pytest.approx(
        0.25 * float(parts[0]) + 0.75 * float(parts[1])
    )


def test_gradients_against_finite_differences() -> None:
    q, k, queue = _draw(4)
    q.requires_grad_()
    assert torch.autograd.gradcheck(lambda a: queue_infonce(a, k, queue, temperature=0.5), (q,))
    assert torch.autograd.gradcheck(lambda a: bank_nce(a, k, queue, temperature=0.5), (q,))


@pytest.mark.parametrize("loss", [queue_infonce, bank_nce])
def test_invariances_and_autocast(loss) -> None:  # type: ignore[no-untyped-def]
    q, k, queue = _draw(5)
    there = float(loss(q, k, queue))
    assert float(loss(q.flip(0), k.flip(0), queue.roll(2, 0))) == pytest.approx(there)
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(6)))[0]
    assert float(loss(q @ turn, k @ turn, queue @ turn)) == pytest.approx(there)
    assert float(loss(3 * q, 0.1 * k, F.normalize(queue, dim=1))) == pytest.approx(there)  # only directions count
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert float(loss(q.float(), k.float(), queue.float())) == pytest.approx(there, rel=1e-4)
