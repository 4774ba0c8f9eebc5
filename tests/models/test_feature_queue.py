"""First in, first out, with the ring's state in the state dict."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from napari_medssl.models.feature_queue import FeatureQueue


def _rows(start: int, count: int) -> torch.Tensor:
    angle = 0.1 * torch.arange(start, start + count)
    return torch.stack([angle.cos(), angle.sin()], 1)


def _holds(queue: FeatureQueue, rows: torch.Tensor) -> bool:
    return torch.allclose(queue().sort(0).values, rows.sort(0).values, atol=1e-6)


def test_it_starts_with_random_directions() -> None:
    torch.manual_seed(0)
    assert torch.allclose(FeatureQueue(6, 4)().norm(dim=1), torch.ones(6))


def test_the_oldest_go_first_across_the_end_of_the_ring() -> None:
    queue = FeatureQueue(5, 2)
    queue.push(_rows(0, 3))
    queue.push(_rows(3, 3))  # 0 .. 5: the first one has gone
    assert _holds(queue, _rows(1, 5))
    queue.push(_rows(6, 4))
    assert _holds(queue, _rows(5, 5))
    assert int(queue.position) == 0


def test_of_a_batch_larger_than_the_queue_the_last_rows_stay() -> None:
    queue = FeatureQueue(3, 2)
    queue.push(_rows(0, 8))
    assert _holds(queue, _rows(5, 3))


def test_directions_only_are_kept_and_no_gradient() -> None:
    queue = FeatureQueue(4, 2)
    rows = (7 * _rows(0, 4)).requires_grad_()
    queue.push(rows)
    assert _holds(queue, F.normalize(rows.detach(), dim=1))
    assert not queue().requires_grad
    queue.push(torch.ones(1, 2, dtype=torch.bfloat16))
    assert queue().dtype == torch.float32


def test_pushing_does_not_disturb_a_waiting_backward_pass() -> None:
    queue = FeatureQueue(4, 2)
    z = torch.ones(3, 2, requires_grad=True)
    loss = (z @ queue().T).square().sum()
    queue.push(_rows(0, 3))
    loss.backward()
    assert z.grad is not None


def test_the_state_goes_on_where_it_was() -> None:
    first, second = FeatureQueue(5, 2), FeatureQueue(5, 2)
    first.push(_rows(0, 3))
    second.load_state_dict(first.state_dict())
    for queue in (first, second):
        queue.push(_rows(3, 4))
    assert torch.equal(first(), second())


def test_what_is_not_finite_is_left_out() -> None:
    queue = FeatureQueue(4, 2)
    queue.push(_rows(0, 4))
    new = _rows(10, 2)
    new[0, 0] = torch.nan
    queue.push(new)
    assert _holds(queue, torch.cat([_rows(0, 1), _rows(11, 1), _rows(2, 2)]))
