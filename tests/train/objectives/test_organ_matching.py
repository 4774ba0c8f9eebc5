"""In-context matching: logits, loss, and an encoder that learns from it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_medssl.models.encoder import build_encoder
from napari_medssl.train.objectives.organ_matching import OrganMatching, episode_logits, episode_loss


def test_the_loss_of_a_perfect_answer_is_small_and_of_the_opposite_large() -> None:
    masks = torch.zeros(1, 32, 32)
    masks[:, 8:24, 8:24] = 1
    answer = torch.nn.functional.avg_pool2d(masks, 4) * 40 - 20
    right, wrong, undecided = (float(episode_loss(x, masks)) for x in (answer, -answer, 0 * answer))
    assert right < 0.25 < undecided < wrong
    # Undecided: cross-entropy log 2 weighted by 1 + 4 on the organ's quarter, soft Dice of 0.5 everywhere (16 x 16).
    dice = 1 - (2 * 0.5 * 64 + 20) / (0.5 * 256 + 64 + 20)
    assert undecided == pytest.approx(np.log(2) * (1 + 4 * 0.25) + dice, abs=1e-4)


def test_logits_find_the_marked_feature() -> None:
    features = torch.randn(8, 16, 16, generator=torch.Generator().manual_seed(0)) * 0.05
    features[0] += 1
    features[1, 4:8, 4:8] += 3
    query = features.roll(5, 2)
    mask = torch.zeros(1, 64, 64)
    mask[0, 16:32, 16:32] = 1
    found = episode_logits(features, mask, query)[0] > 0
    assert found[4:8, 9:13].all()
    assert found.sum() == 16


def batch() -> dict[str, torch.Tensor]:
    """Two episodes: a bright square that moves; a second organ in the first of them only."""
    noise = torch.Generator().manual_seed(0)
    slices = 0.2 + 0.05 * torch.rand(2, 2, 3, 32, 32, generator=noise)
    masks = torch.zeros(2, 2, 2, 32, 32)  # side, episode, organ
    for side, at in ((0, 4), (1, 12)):
        masks[side, :, 0, at : at + 12, at : at + 12] = 1
        slices[side, :, :, at : at + 12, at : at + 12] += 0.6
    masks[:, 0, 1, 22:30, 2:10] = 1
    return {
        "support": slices[0],
        "query": slices[1],
        "support_masks": masks[0],
        "query_masks": masks[1],
        "count": torch.tensor([2, 1]),
    }


def objective() -> OrganMatching:
    torch.manual_seed(0)
    return OrganMatching(build_encoder("slice-resnet", width=8, channels=16, input_size=32)).train()


def test_masks_beyond_the_count_do_not_count() -> None:
    net, examples = objective(), batch()
    changed = {k: v.clone() for k, v in examples.items()}
    changed["query_masks"][1, 1] = 1
    assert torch.equal(net(examples)["loss"], net(changed)["loss"])
    alone = {k: v[:1] for k, v in examples.items()}, {k: v[1:] for k, v in examples.items()}
    each = torch.stack([net(part)["loss"] for part in alone])
    torch.testing.assert_close(net(examples)["loss"], each.mean())


def test_half_precision_networks_are_judged_in_float32() -> None:
    net, examples = objective(), batch()
    with torch.autocast("cpu", torch.bfloat16):
        loss = net(examples)["loss"]
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, net(examples)["loss"], rtol=0.05, atol=0.02)


def test_a_few_steps_on_one_batch_lower_the_loss() -> None:
    net, examples = objective(), batch()
    optimiser = torch.optim.Adam(net.parameters(), 5e-3)
    losses = []
    for _ in range(10):
        loss = net(examples)["loss"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]
