"""Label prediction: the loss by hand, gradients, half precision, every way to look at a batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from napari_medssl.pretext.jumpat import JumbledPatches, JumpatSettings
from napari_medssl.pretext.scan import Scan
from napari_medssl.train.objectives.label import LabelObjective, gridded, in_branches, one_by_one, whole


class Identity(nn.Module):
    """An encoder that gives its input, and the mean over patches."""

    def forward(self, x: Tensor) -> Tensor:
        return x

    def patches(self, patches: Tensor) -> Tensor:
        return patches.mean(1)


def linear(inputs: int, outputs: int) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(inputs, outputs)


def images() -> Tensor:
    return torch.rand(5, 4, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_loss_and_accuracy_by_hand(dtype: torch.dtype) -> None:
    objective = LabelObjective(Identity(), linear(4, 3)).to(dtype)
    batch = {"image": images().to(dtype), "label": torch.tensor([0, 2, 1, 1, 0])}
    out = objective(batch)
    with torch.no_grad():
        rows = objective.head(batch["image"].mean((2, 3)))
    by_hand = [-float(torch.log(row.exp()[k] / row.exp().sum())) for row, k in zip(rows, batch["label"], strict=True)]
    assert float(out["loss"].detach()) == pytest.approx(sum(by_hand) / 5, rel=1e-5)
    assert float(out["accuracy"]) == pytest.approx(float((rows.argmax(1) == batch["label"]).double().mean()))
    assert not out["accuracy"].requires_grad


def test_several_answers_at_once() -> None:
    objective = LabelObjective(Identity(), linear(4, 3), loss="bce")
    labels = torch.tensor([[0, 1, 1]] * 5)
    out = objective({"image": images(), "label": labels})
    p = torch.sigmoid(objective.logits({"image": images()}))
    by_hand = -(labels * p.log() + (1 - labels) * (1 - p).log()).mean()
    torch.testing.assert_close(out["loss"], by_hand)
    assert float(out["accuracy"]) == pytest.approx(float(((p > 0.5) == (labels > 0)).float().mean()))


def test_gradients_agree_with_finite_differences() -> None:
    objective = LabelObjective(Identity(), linear(4, 3)).double()
    labels = torch.tensor([0, 2, 1, 1, 0])

    def loss(x: Tensor) -> Tensor:
        value: Tensor = objective({"image": x, "label": labels})["loss"]
        return value

    assert torch.autograd.gradcheck(loss, images()[:, :, :2, :2].double().requires_grad_())


def test_the_loss_is_float32_under_autocast() -> None:
    objective = LabelObjective(Identity(), linear(4, 3))
    batch = {"image": images(), "label": torch.tensor([0, 2, 1, 1, 0])}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = objective(batch)
    assert out["loss"].dtype == torch.float32
    torch.testing.assert_close(out["loss"], objective(batch)["loss"], atol=1e-2, rtol=0)


def test_looks_keep_what_they_promise() -> None:
    patches = torch.rand(2, 9, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    encoder = Identity()
    torch.testing.assert_close(whole(encoder, {"image": images()}), images().mean((2, 3)))
    cells = gridded(2)(encoder, {"image": images()}).view(5, 4, 2, 2)
    torch.testing.assert_close(cells[:, :, 1, 0], images()[:, :, 4:, :4].mean((2, 3)))
    joined = one_by_one(encoder, {"patches": patches})
    torch.testing.assert_close(joined[:, 6:9], patches[:, 2].mean((2, 3)))
    assert in_branches(encoder, {"patches": patches}).shape == (2, 3, 4, 4)


def test_volumes_are_looked_at_too() -> None:
    objective = LabelObjective(Identity(), linear(8 * 2, 5))
    batch = {"patches": torch.rand(3, 8, 2, 4, 4, 4), "label": torch.tensor([0, 4, 2])}
    assert objective.logits(batch).shape == (3, 5)
    assert LabelObjective(Identity(), linear(2, 5)).logits({"image": torch.rand(3, 2, 4, 4, 4)}).shape == (3, 5)


def test_constants_are_stored_with_the_weights() -> None:
    arrangements = torch.arange(18, dtype=torch.uint8).view(2, 9)
    objective = LabelObjective(Identity(), linear(4, 2), keep={"arrangements": arrangements})
    assert torch.equal(objective.state_dict()["arrangements"], arrangements)


def test_eight_puzzles_are_learned_by_heart() -> None:
    image = np.random.default_rng(1).integers(0, 256, (4, 48, 48), dtype=np.uint8)
    scans = [Scan(image, None, (1.0, 1.0, 1.0), "scan.nii", "group", "subject")]
    task = JumbledPatches(JumpatSettings(size=48, patch=16, classes=8))
    drawn = [task.draw(scans, np.random.default_rng([0, n])) for n in range(8)]
    batch = task.prepare({name: torch.stack([d[name] for d in drawn]) for name in drawn[0]})
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Conv2d(1, 16, 5, 2), nn.ReLU(), nn.Conv2d(16, 16, 3, 2), nn.ReLU())
    objective = LabelObjective(encoder, nn.Sequential(nn.Linear(9 * 16, 64), nn.ReLU(), nn.Linear(64, 8)))
    optimiser = torch.optim.Adam(objective.parameters(), 3e-3)
    for _ in range(120):
        optimiser.zero_grad()
        objective(batch)["loss"].backward()
        optimiser.step()
    with torch.no_grad():
        out = objective(batch)
    assert float(out["accuracy"]) == 1
    assert float(out["loss"]) < 0.1
