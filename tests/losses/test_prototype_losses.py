"""Sinkhorn's marginals, SwAV and DINO against loops."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from napari_medssl.losses.dino import dino, moved_centre
from napari_medssl.losses.swav import sinkhorn, swapped_prediction


def _scores(seed: int, rows: int = 12, kinds: int = 3, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.rand(rows, kinds, generator=torch.Generator().manual_seed(seed), dtype=dtype) * 2 - 1


def test_sinkhorn_marginals() -> None:
    plan = sinkhorn(_scores(0), rounds=200)
    assert torch.allclose(plan.sum(1), torch.ones(12, dtype=torch.float64))
    assert torch.allclose(plan.sum(0), torch.full((3,), 4.0, dtype=torch.float64), atol=1e-6)
    errors = []
    for rounds in (1, 3, 10, 50):
        plan = sinkhorn(_scores(0), rounds=rounds)
        assert torch.allclose(plan.sum(1), torch.ones(12, dtype=torch.float64))
        errors.append(float((plan.sum(0) - 4).abs().sum()))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.2 * errors[0]


def test_sinkhorn_as_published() -> None:
    scores = _scores(1)
    q = (scores / 0.05).exp().T  # (K, B)
    q = q / q.sum()
    for _ in range(3):
        q = q / q.sum(1, keepdim=True) / 3
        q = q / q.sum(0, keepdim=True) / 12
    assert torch.allclose(sinkhorn(scores), (q * 12).T)


def test_sinkhorn_keeps_to_float32_where_exponentials_leave_it() -> None:
    far = torch.tensor([[60.0, 0.0], [0.0, 60.0]])
    assert torch.allclose(sinkhorn(far), torch.eye(2), atol=1e-6)


def test_sinkhorn_spreads_a_collapsed_batch() -> None:
    same = torch.tensor([[0.9, 0.1, 0.0]]).expand(6, 3)
    assert torch.allclose(sinkhorn(same), torch.full((6, 3), 1 / 3))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_swapped_prediction_as_a_loop(dtype: torch.dtype) -> None:
    s1, s2 = _scores(2, dtype=dtype), _scores(3, dtype=dtype)
    total = 0.0
    for codes, scores in ((sinkhorn(s1), s2), (sinkhorn(s2), s1)):
        for q, s in zip(codes, scores, strict=True):
            weights = [math.exp(float(x) / 0.1) for x in s]
            total -= sum(float(a) * math.log(w / sum(weights)) for a, w in zip(q, weights, strict=True))
    assert float(swapped_prediction(s1, s2)) == pytest.approx(total / 24, rel=1e-4)


def test_swapped_prediction_trains_the_predictions_alone() -> None:
    s1, s2 = (_scores(s).requires_grad_() for s in (4, 5))
    codes = sinkhorn(s1), sinkhorn(s2)
    assert not codes[0].requires_grad
    found = torch.autograd.grad(swapped_prediction(s1, s2), s1)[0]
    # d/ds of a cross-entropy: (softmax - target) / temperature, over the batch and the two halves.
    expected = ((s1 / 0.1).softmax(1) - codes[1]) / (0.1 * 12 * 2)
    assert torch.allclose(found, expected.detach())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dino_as_a_loop(dtype: torch.dtype) -> None:
    student, teacher = _scores(6, dtype=dtype), _scores(7, dtype=dtype)
    centre = torch.tensor([0.3, -0.1, 0.0], dtype=dtype)
    total = 0.0
    for s, t in zip(student, teacher, strict=True):
        p = [math.exp(float(x - c) / 0.04) for x, c in zip(t, centre, strict=True)]
        q = [math.exp(float(x) / 0.1) for x in s]
        total -= sum(a / sum(p) * math.log(b / sum(q)) for a, b in zip(p, q, strict=True))
    assert float(dino(student, teacher, centre)) == pytest.approx(total / 12, rel=1e-4)


def test_dino_trains_the_student_alone() -> None:
    student, teacher = (_scores(s).requires_grad_() for s in (8, 9))
    centre = torch.zeros(3, dtype=torch.float64)
    assert torch.autograd.grad(dino(student, teacher, centre), teacher, allow_unused=True)[0] is None
    assert torch.autograd.gradcheck(lambda s: dino(s, teacher.detach(), centre), (student,))


def test_centring_takes_away_what_all_images_share() -> None:
    teacher = torch.tensor([[5.0, 0.1, 0.0], [5.0, 0.0, 0.1]])  # the first prototype wins everywhere
    centre = torch.zeros(3)
    assert float(dino(torch.zeros(2, 3), teacher, centre)) == pytest.approx(math.log(3))
    for _ in range(200):
        centre = moved_centre(centre, teacher)
    assert torch.allclose(centre, teacher.mean(0), atol=1e-5)
    targets = ((teacher - centre) / 0.04).softmax(1)
    assert targets.argmax(1).tolist() == [1, 2]


def test_centre_moves_by_a_tenth() -> None:
    moved = moved_centre(torch.tensor([1.0, 0.0]), torch.tensor([[0.0, 2.0], [0.0, 4.0]]))
    assert moved.tolist() == pytest.approx([0.9, 0.3])


def test_a_bad_batch_does_not_move_the_centre() -> None:
    centre = torch.tensor([1.0, 0.0])
    assert torch.equal(moved_centre(centre, torch.tensor([[torch.nan, torch.inf], [0.0, 4.0]])), centre)


def test_autocast_and_order() -> None:
    a, b = _scores(10, dtype=torch.float32), _scores(11, dtype=torch.float32)
    centre = torch.zeros(3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = dino(a.bfloat16(), b.bfloat16(), centre)
        assert sinkhorn(a.half()).dtype == torch.float32
    assert half.dtype == torch.float32
    assert float(half) == pytest.approx(float(dino(a.bfloat16().float(), b.bfloat16().float(), centre)))
    assert float(dino(a.flip(0), b.flip(0), centre)) == pytest.approx(float(dino(a, b, centre)), rel=1e-5)
