"""Restoring: the loss by hand, where it counts, half precision, one copy of the encoder's weights."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from napari_medssl.losses.reconstruction import masked_l1
from napari_medssl.models.restorer3d import Restorer3d
from napari_medssl.models.unet3d import UNet3dEncoder
from napari_medssl.train.objectives.restore import RestoreObjective


class Scaled(nn.Module):
    """A network that multiplies the image, and adds what else it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(1, 1)
        self.factor = nn.Parameter(torch.tensor(2.0))

    def forward(self, image: Tensor, *more: Tensor) -> Tensor:
        return self.factor * image + sum(more)


BATCH = {
    "image": torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])[None],
    "target": torch.tensor([[[2.0, 1.0], [0.0, 8.0]]])[None],
    "weight": torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])[None],
}


def test_loss_and_error_by_hand() -> None:
    out = RestoreObjective(Scaled())(BATCH)  # 2, 4, 6, 8 against 2, 1, 0, 8
    assert out["loss"].item() == (9 + 36) / 2
    assert out["absolute_error"].item() == (3 + 6) / 2
    assert not out["absolute_error"].requires_grad
    everywhere = RestoreObjective(Scaled())({k: v for k, v in BATCH.items() if k != "weight"})
    assert everywhere["loss"].item() == (9 + 36) / 4
    assert RestoreObjective(Scaled(), loss=masked_l1)(BATCH)["loss"].item() == (3 + 6) / 2


def test_gradient_by_hand() -> None:
    network = Scaled()
    RestoreObjective(network)(BATCH)["loss"].backward()
    assert network.factor.grad is not None
    assert network.factor.grad.item() == pytest.approx((2 * 3 * 2 + 2 * 6 * 3) / 2)


def test_the_network_gets_what_it_asks_for() -> None:
    objective = RestoreObjective(Scaled(), also=("weight",))
    assert torch.equal(objective.restored(BATCH), 2 * BATCH["image"] + BATCH["weight"])


def test_the_encoder_is_stored_once() -> None:
    objective = RestoreObjective(Scaled())
    assert objective.encoder is objective.network.encoder
    assert list(objective.state_dict()) == ["network.factor", "network.encoder.weight", "network.encoder.bias"]


@pytest.mark.parametrize("skip", [True, False])
def test_a_3d_u_net_restores_under_autocast(skip: bool) -> None:
    torch.manual_seed(0)
    objective = RestoreObjective(Restorer3d(UNet3dEncoder(width=0.125), skip=skip))
    volume = torch.rand(2, 1, 8, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        loss = objective({"image": volume, "target": volume})["loss"]
    assert loss.dtype == torch.float32
    loss.backward()
    assert torch.isfinite(loss)
    # Not whether they are finite: on some CPUs torch's bfloat16 gradients of small 3D convolutions sometimes are not,
    # and the trainer leaves such a step out.
    assert all(p.grad is not None for p in objective.parameters())
