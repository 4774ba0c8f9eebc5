"""Objectives with a teacher, a queue or prototypes: values by hand, who is trained, what is carried along."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from napari_medssl.losses.cosine import cosine_regression
from napari_medssl.losses.dino import dino
from napari_medssl.losses.keys import queue_infonce
from napari_medssl.losses.pirl import pirl
from napari_medssl.losses.swav import swapped_prediction
from napari_medssl.models.heads import mlp
from napari_medssl.models.momentum import cosine_momentum
from napari_medssl.train.objective import Objective
from napari_medssl.train.objectives.byol import ByolObjective, SimSiamObjective
from napari_medssl.train.objectives.dino import DinoObjective
from napari_medssl.train.objectives.joint import JointObjective
from napari_medssl.train.objectives.momentum_queue import MomentumQueueObjective, PirlObjective
from napari_medssl.train.objectives.swav import SwavObjective


def _encoder(dims: int = 2) -> nn.Module:
    convolution = nn.Conv2d if dims == 2 else nn.Conv3d
    return nn.Sequential(convolution(1, 6, 3), nn.ReLU())


def _batch(n: int = 6, dims: int = 2, seed: int = 1) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(seed)
    images = torch.rand(2, n, 1, *[8] * dims, generator=g)
    return {
        "view1": images[0],
        "view2": images[1],
        "image": images[0],
        "patches": torch.rand(n, 4, 1, *[5] * dims, generator=g),
    }


def _byol(dims: int = 2) -> ByolObjective:
    return ByolObjective(_encoder(dims), mlp([6, 8, 5]), mlp([5, 8, 5]))


def _simsiam(dims: int = 2) -> SimSiamObjective:
    return SimSiamObjective(_encoder(dims), mlp([6, 8, 5]), mlp([5, 8, 5]))


def _moco(dims: int = 2) -> MomentumQueueObjective:
    return MomentumQueueObjective(_encoder(dims), mlp([6, 8, 5], norm=False), width=5, queue=16)


def _dino(dims: int = 2) -> DinoObjective:
    return DinoObjective(_encoder(dims), mlp([6, 8, 5], norm=False), width=5, prototypes=7)


def _swav(dims: int = 2) -> SwavObjective:
    return SwavObjective(_encoder(dims), mlp([6, 8, 5]), width=5, prototypes=4)


def _pirl(dims: int = 2) -> PirlObjective:
    return PirlObjective(
        _encoder(dims), nn.Linear(6, 5), nn.Linear(6, 3), nn.Linear(12, 5), width=5, bank=16, share=0.25
    )


BUILDERS: dict[str, Callable[..., Objective]] = {
    "byol": _byol, "simsiam": _simsiam, "moco": _moco, "dino": _dino, "swav": _swav, "pirl": _pirl,
}  # fmt: skip


def _made(name: str, dims: int = 2) -> Objective:
    torch.manual_seed(0)
    return BUILDERS[name](dims)


def _step(net: Objective, batch: dict[str, Tensor], share: float, optimiser: torch.optim.Optimizer) -> float:
    net.begin_step(share)
    optimiser.zero_grad()
    loss = net(batch)["loss"]
    loss.backward()
    optimiser.step()
    net.end_step()
    return float(loss.detach())


def _features(encoder: nn.Module, images: Tensor) -> Tensor:
    out: Tensor = encoder(images)
    return out.flatten(2).mean(2)


@pytest.mark.parametrize("name", BUILDERS)
@pytest.mark.parametrize("dims", [2, 3])
def test_slices_and_volumes_give_a_loss_and_scalars(name: str, dims: int) -> None:
    values = _made(name, dims)(_batch(dims=dims))
    assert values["loss"].requires_grad
    assert math.isfinite(float(values["loss"].detach()))
    assert 0 <= float(values["spread"]) <= 1
    assert all(v.ndim == 0 and (k == "loss" or not v.requires_grad) for k, v in values.items())


@pytest.mark.parametrize("name", BUILDERS)
def test_every_trained_parameter_gets_a_gradient_and_no_teacher_does(name: str) -> None:
    net = _made(name)
    net(_batch())["loss"].backward()
    for key, p in net.named_parameters():
        slow = any(part in key for part in ("target_", "key_", "teacher_", "memory_"))
        assert p.requires_grad is not slow, key
        assert (p.grad is None) is slow, key


@pytest.mark.parametrize("name", BUILDERS)
def test_the_state_dict_is_the_whole_state(name: str) -> None:
    net, other = _made(name), _made(name)
    optimiser = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=0.1)
    for n in range(3):
        _step(net, _batch(seed=n), n / 8, optimiser)
    other.load_state_dict(copy.deepcopy(net.state_dict()))
    losses = []
    for each in (net, other):
        plain = torch.optim.SGD([p for p in each.parameters() if p.requires_grad], lr=0.1)
        losses.append([_step(each, _batch(seed=n), n / 8, plain) for n in range(3, 8)])
    assert losses[0] == losses[1]
    assert all(torch.equal(v, other.state_dict()[k]) for k, v in net.state_dict().items())


@pytest.mark.parametrize("name", ["moco", "dino", "pirl"])
def test_looking_without_training_changes_nothing(name: str) -> None:
    net = _made(name).eval()
    before = copy.deepcopy(net.state_dict())
    net(_batch())
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


@pytest.mark.parametrize("name", BUILDERS)
def test_half_precision_reaches_no_loss(name: str) -> None:
    net = _made(name)
    exact = float(copy.deepcopy(net)(_batch())["loss"].detach())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = net(_batch())["loss"]
    assert loss.dtype == torch.float32
    loss.backward()
    assert float(loss.detach()) == pytest.approx(exact, rel=0.15)


def test_byol_by_hand() -> None:
    net, batch = _byol().eval(), _batch()
    z1, z2 = (net.projector(_features(net.encoder, batch[v])) for v in ("view1", "view2"))
    expected = cosine_regression(net.predictor(z1), z2) + cosine_regression(net.predictor(z2), z1)  # target = online
    torch.testing.assert_close(net(batch)["loss"], expected)


def test_byol_target_follows_with_a_rising_momentum() -> None:
    net = _made("byol")
    assert isinstance(net, ByolObjective)
    with torch.no_grad():
        for p in [*net.encoder.parameters(), *net.projector.parameters()]:
            p.add_(1.0)
    slow = [*net.target_encoder.parameters(), *net.target_projector.parameters()]
    before = [p.clone() for p in slow]
    net.begin_step(0.5)
    net.end_step()
    for was, now in zip(before, slow, strict=True):
        torch.testing.assert_close(now - was, torch.full_like(was, 1 - cosine_momentum(0.996, 0.5)), atol=1e-6, rtol=0)


def test_simsiam_by_hand() -> None:
    net, batch = _simsiam().eval(), _batch()
    z1, z2 = (net.projector(_features(net.encoder, batch[v])) for v in ("view1", "view2"))
    p1, p2 = net.predictor(z1), net.predictor(z2)
    published = -(torch.cosine_similarity(p1, z2) + torch.cosine_similarity(p2, z1)).mean() / 2
    torch.testing.assert_close(net(batch)["loss"], 2 + 2 * published)


def test_moco_by_hand_and_its_queue() -> None:
    net, batch = _made("moco"), _batch()
    assert isinstance(net, MomentumQueueObjective)
    old = net.queue()
    q, k = (net.projector(_features(net.encoder, batch[v])) for v in ("view1", "view2"))
    torch.testing.assert_close(net(batch)["loss"], queue_infonce(q, k, old))
    torch.testing.assert_close(net.queue()[:6], torch.nn.functional.normalize(k.detach(), dim=1))
    torch.testing.assert_close(net.queue()[6:], old[6:])


def test_pirl_by_hand() -> None:
    net, batch = _made("pirl"), _batch()
    assert isinstance(net, PirlObjective)
    image = net.image_head(_features(net.encoder, batch["image"]))
    pieces = [net.patch_head(_features(net.encoder, batch["patches"][:, n])) for n in range(4)]
    puzzle = net.puzzle_head(torch.cat(pieces, 1))
    expected = pirl(image, puzzle, image.detach(), net.bank(), share=0.25)
    torch.testing.assert_close(net(batch)["loss"], expected)
    torch.testing.assert_close(net.bank()[:6], torch.nn.functional.normalize(image.detach(), dim=1))


def test_dino_by_hand_with_centre_and_temperature() -> None:
    net, batch = _made("dino"), _batch()
    assert isinstance(net, DinoObjective)
    net.centre.copy_(torch.linspace(-0.1, 0.1, 7))
    centre = net.centre.clone()
    net.begin_step(0.15)  # half of the warm-up: 0.055
    s1, s2 = (
        net.student_prototypes(net.student_projector(_features(net.student_encoder, batch[v])))
        for v in ("view1", "view2")
    )
    expected = (
        dino(s1, s2, centre, teacher_temperature=0.055) + dino(s2, s1, centre, teacher_temperature=0.055)
    ) / 2  # the teacher is still the student
    values = net(batch)
    torch.testing.assert_close(values["loss"], expected)
    both = torch.cat([s1, s2]).detach()
    torch.testing.assert_close(net.centre, 0.9 * centre + 0.1 * both.mean(0))
    sharp = ((s1.detach() - centre) / 0.055).softmax(1).amax(1).mean()
    torch.testing.assert_close(values["sharpness"], sharp)
    net.begin_step(0.9)
    assert net._temperature == pytest.approx(0.07)


def test_dino_keeps_the_teacher() -> None:
    net = _made("dino")
    optimiser = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=0.5)
    first = copy.deepcopy(net.encoder.state_dict())
    _step(net, _batch(), 0.5, optimiser)
    moved = (net.encoder[0].weight.detach() - first["0.weight"]).abs().max()
    assert isinstance(net, DinoObjective)
    assert net.encoder is net.teacher_encoder.module
    student = (next(net.student_encoder.parameters()).detach() - first["0.weight"]).abs().max()
    assert float(moved) == pytest.approx((1 - cosine_momentum(0.996, 0.5)) * float(student), rel=0.02)


def test_swav_by_hand() -> None:
    net, batch = _made("swav"), _batch()
    assert isinstance(net, SwavObjective)
    z1, z2 = (net.projector(_features(net.encoder, batch[v])) for v in ("view1", "view2"))
    values = net(batch)
    torch.testing.assert_close(values["loss"], swapped_prediction(net.prototypes(z1), net.prototypes(z2)))
    assert float(values["used"]) in (0.25, 0.5, 0.75, 1.0)


@pytest.mark.parametrize("name", ["swav", "dino"])
def test_prototypes_stand_still_at_first(name: str) -> None:
    net = _made(name)
    assert isinstance(net, (SwavObjective, DinoObjective))
    prototypes = net.prototypes if isinstance(net, SwavObjective) else net.student_prototypes
    optimiser = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=0.5)
    before = prototypes.weight.detach().clone()
    _step(net, _batch(), 0.0, optimiser)
    torch.testing.assert_close(prototypes.weight.detach(), before)
    _step(net, _batch(), 0.5, optimiser)
    assert float((prototypes.weight.detach() - before).abs().max()) > 1e-4


def test_swav_sets_the_length_of_prototypes_before_each_step() -> None:
    net = _made("swav")
    assert isinstance(net, SwavObjective)
    with torch.no_grad():
        net.prototypes.weight.mul_(3)
    net.begin_step(0.3)
    torch.testing.assert_close(net.prototypes.weight.detach().norm(dim=1), torch.ones(4))


def test_joint_by_hand_and_shuffled() -> None:
    torch.manual_seed(0)
    seen = []

    def loss(a: Tensor, b: Tensor) -> Tensor:
        seen.append((a.detach(), b.detach()))
        return (a - b).square().sum()

    encoder, projector, batch = _encoder(), mlp([6, 8, 5]).eval(), _batch()
    plain, mixed = (JointObjective(encoder, projector, loss, shuffled=s) for s in (False, True))
    z = [projector(_features(encoder, batch[v])) for v in ("view1", "view2")]
    torch.testing.assert_close(plain(batch)["loss"], (z[0] - z[1]).square().sum())
    torch.testing.assert_close(mixed(batch)["loss"], (z[0] - z[1]).square().sum())
    orders = [
        [next(i for i in range(5) if torch.equal(m[:, j], p[:, i])) for j in range(5)]
        for p, m in zip(*seen, strict=True)
    ]
    assert orders[0] == orders[1]  # the same in both views
    assert sorted(orders[0]) == list(range(5)) != orders[0]


def _collapse(objective: Objective, steps: int = 60) -> float:
    """Spread after training on images that differ by their stripes only."""
    torch.manual_seed(0)
    g = torch.Generator().manual_seed(3)
    patterns = torch.rand(12, 1, 8, 8, generator=g)
    optimiser = torch.optim.Adam([p for p in objective.parameters() if p.requires_grad], 5e-3)
    value = 0.0
    for n in range(steps):
        views = [patterns + 0.05 * torch.randn(patterns.shape, generator=g) for _ in range(2)]
        objective.begin_step(n / steps)
        optimiser.zero_grad()
        found = objective({"view1": views[0], "view2": views[1]})
        found["loss"].backward()
        optimiser.step()
        objective.end_step()
        value = float(found["spread"])
    return value


def test_without_predictor_and_stopped_gradient_the_embedding_collapses() -> None:
    def agreement(a: Tensor, b: Tensor) -> Tensor:
        return (2 - 2 * torch.cosine_similarity(a, b)).mean()

    torch.manual_seed(0)
    naive = _collapse(JointObjective(_encoder(), mlp([6, 8, 5], norm=False), agreement))
    kept = [_collapse(_made(name)) for name in ("byol", "simsiam", "moco", "swav")]
    assert naive < 0.05
    assert min(kept) > 0.3
