"""PCRL-lite: its terms written out, its teacher, its conditions."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from napari_medssl.models.encoder3d import build_encoder3d
from napari_medssl.models.unet3d import UNet3dEncoder
from napari_medssl.pretext.task import Example
from napari_medssl.train.objectives.pcrl import PcrlObjective


def objective(*, skip: bool = True, momentum: float = 0.9) -> PcrlObjective:
    torch.manual_seed(0)
    encoder = build_encoder3d("unet3d", width=0.0625, norm="group")
    assert isinstance(encoder, UNet3dEncoder)
    return PcrlObjective(encoder, conditions=3, skip=skip, momentum=momentum, projector=(16, 8))


def batch(count: int = 3) -> Example:
    made = torch.Generator().manual_seed(1)
    images = {n: torch.rand(count, 1, 8, 16, 16, generator=made) for n in ("view1", "view2", "target1", "target2")}
    told = {n: torch.rand(count, 3, generator=made) for n in ("condition1", "condition2")}
    return {**images, **told, "mix": torch.tensor([0.0, 0.3, 1.0])[:count]}


def one(values: Example, b: int) -> Example:
    return {name: value[b : b + 1] for name, value in values.items()}


@pytest.mark.parametrize("skip", [True, False])
def test_the_loss_is_three_contrasts_and_four_restorations(skip: bool) -> None:
    network = objective(skip=skip).eval()  # each example alone, as group normalisation allows
    with torch.no_grad():
        for weight in network.teacher.parameters():
            weight.mul_(1.1)
    values = batch()
    found = network(values)

    def key(name: str) -> Tensor:
        return torch.nn.functional.normalize(
            network.teacher_projector(network.teacher.module(values[name]).mean((2, 3, 4)))
        )

    def contrast(grid: Tensor, keys: Tensor, b: int) -> Tensor:
        z = torch.nn.functional.normalize(network.projector(grid.mean((2, 3, 4))))
        return -((z @ keys.T) / 0.07).log_softmax(1)[0, b]

    def restoration(stages: list[Tensor], condition: Tensor, target: Tensor) -> Tensor:
        used = stages if skip else stages[-1:]
        gated = [
            s * gate(condition).sigmoid().view(1, -1, 1, 1, 1) for s, gate in zip(used, network.gates, strict=True)
        ]
        return (network.decoder(gated if skip else [*stages[:-1], *gated]).sigmoid() - target).square().mean()

    nce, mse = [], []
    first, second = key("view1"), key("view2")
    for b in range(3):
        v, m = one(values, b), float(values["mix"][b])
        f1, f2 = network.encoder.stages(v["view1"]), network.encoder.stages(v["view2"])
        t1, t2 = network.teacher.module.stages(v["view1"]), network.teacher.module.stages(v["view2"])
        blend = [m * a + (1 - m) * c for a, c in zip(f1, t2, strict=True)]
        other = [m * a + (1 - m) * c for a, c in zip(t1, f2, strict=True)]
        mixed = m * contrast(blend[-1], first, b) + (1 - m) * contrast(blend[-1], second, b)
        nce += [contrast(f1[-1], second, b), contrast(f2[-1], first, b), mixed]
        told, target = (m * v[f"{n}1"] + (1 - m) * v[f"{n}2"] for n in ("condition", "target"))
        mse += [
            restoration(f1, v["condition1"], v["target1"]),
            restoration(f2, v["condition2"], v["target2"]),
            restoration(blend, told, target),
            restoration(other, told, target),
        ]
    torch.testing.assert_close(found["contrast"], torch.stack(nce).mean().detach(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found["restoration"], torch.stack(mse).mean().detach(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found["loss"], found["contrast"] + found["restoration"])


def test_the_teacher_follows_slowly_and_gets_no_gradient() -> None:
    network = objective(momentum=0.9).train()
    before = copy.deepcopy(network.teacher.state_dict())
    network(batch())["loss"].backward()
    assert all(p.grad is None and not p.requires_grad for p in network.teacher.parameters())
    with torch.no_grad():
        for weight in network.encoder.parameters():
            weight.add_(1.0)
    network.end_step()
    for name, weight in network.teacher.named_parameters():
        torch.testing.assert_close(weight, before[name] + 0.1)
    assert any(name.startswith("teacher.") for name in network.state_dict())  # it is part of a checkpoint


def test_what_is_told_changes_what_is_restored() -> None:
    network = objective().eval()
    values = batch()
    told = {**values, "condition1": values["condition1"] + 2}
    assert network(values)["restoration"] != network(told)["restoration"]
