"""Carrying a mask: each step from the answer before, and a network that learns it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from napari_medssl.models.propagator import build_propagator
from napari_medssl.train.objectives.mask_walk import MaskWalk, mask_loss


class Copy(nn.Module):
    """Answers with the mask of the slice before; keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Tensor] = []

    def forward(self, inputs: Tensor) -> Tensor:
        self.asked.append(inputs)
        return 20 * inputs[:, 3]


def batch(size: int = 48) -> dict[str, Tensor]:
    """Two walks on which a bright square stays where it is."""
    mask = torch.zeros(2, 4, size, size)
    mask[..., 10:30, 10:30] = 1
    image = 0.2 + 0.5 * mask[:, 0] + torch.linspace(0, 0.2, size)
    return {
        "images": image[:, None].expand(2, 5, size, size),
        "masks": mask,
        "support": image,
        "support_mask": mask[:, 0],
        "gap_mm": torch.tensor([4.0, 4.0]),
        "start_mm": torch.tensor([8.0, 0.0]),
    }


def test_each_step_starts_from_the_answer_before_and_counts_its_distance() -> None:
    network = Copy()
    loss = MaskWalk(network)(batch())["loss"]
    assert len(network.asked) == 3
    for t, asked in enumerate(network.asked, 1):
        assert asked.shape == (2, 9, 48, 48)
        torch.testing.assert_close(asked[:, 3], 2 * batch()["support_mask"] - 1, atol=1e-5, rtol=0)
        assert asked[:, 8, 0, 0].tolist() == pytest.approx([(8 + t * 4) / 100, t * 4 / 100])
        assert asked[:, 7, 0, 0].tolist() == pytest.approx([0.4, 0.4])
    assert float(loss) < 1e-3


def test_the_loss_by_hand() -> None:
    target = torch.zeros(1, 8, 8)
    target[0, :4] = 1
    undecided = mask_loss(torch.zeros(1, 8, 8), target)
    assert float(undecided) == pytest.approx(2 * np.log(2) + 1 - (2 * 16 + 30) / (32 + 32 + 30), abs=1e-5)
    assert float(mask_loss(40 * target - 20, target)) == pytest.approx(0, abs=1e-4)
    # An empty target is answered best by nothing.
    empty = torch.zeros(1, 8, 8)
    assert float(mask_loss(empty - 20, empty)) < 1e-4 < float(mask_loss(empty, empty))


def objective() -> MaskWalk:
    torch.manual_seed(0)
    return MaskWalk(build_propagator("crop-unet", features=(8, 8, 8, 8, 8, 8), crop_size=48)).train()


def test_half_precision_networks_are_judged_in_float32() -> None:
    net, walks = objective(), batch()
    with torch.autocast("cpu", torch.bfloat16):
        loss = net(walks)["loss"]
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, net(walks)["loss"], rtol=0.05, atol=0.02)


def test_a_few_steps_on_one_batch_lower_the_loss() -> None:
    net, walks = objective(), batch()
    optimiser = torch.optim.Adam(net.parameters(), 1e-2)
    losses = []
    for _ in range(10):
        loss = net(walks)["loss"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.75 * losses[0]
