"""The objective of pairs: partners, several processes, half precision, slices and volumes."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor, nn

from napari_medssl.errors import SettingsError
from napari_medssl.losses.infonce import info_nce
from napari_medssl.losses.temperature import Constant, CosineSchedule
from napari_medssl.models.heads import mlp
from napari_medssl.train.objectives import pair
from napari_medssl.train.objectives.pair import PairObjective

LOSS = partial(info_nce, temperature=Constant(0.2))


def objective(dims: int = 2, loss: pair.PairLoss = LOSS) -> PairObjective:
    torch.manual_seed(0)
    convolution = nn.Conv2d if dims == 2 else nn.Conv3d
    encoder = nn.Sequential(convolution(1, 6, 3), nn.ReLU())
    return PairObjective(encoder, mlp([6, 8, 5], norm=False), loss)


def batch(n: int = 4, dims: int = 2, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    images = torch.rand(2, n, 1, *[8] * dims, generator=torch.Generator().manual_seed(1))
    return {"view1": images[0].to(dtype), "view2": images[1].to(dtype)}


@pytest.mark.parametrize("dims", [2, 3])
def test_loss_and_scalars_by_hand(dims: int) -> None:
    net, examples = objective(dims), batch(dims=dims)
    values = net(examples)
    places = tuple(range(2, 2 + dims))
    z1, z2 = (net.projector(net.encoder(examples[v]).mean(places)) for v in ("view1", "view2"))
    torch.testing.assert_close(values["loss"], LOSS(z1, z2))
    z = [*z1.detach(), *z2.detach()]
    same, different = [], []
    for i in range(8):
        for j in range(8):
            if i != j:
                c = float(torch.cosine_similarity(z[i], z[j], dim=0))
                (same if j == (i + 4) % 8 else different).append(c)
    assert float(values["positive_cosine"]) == pytest.approx(sum(same) / 8, rel=1e-5)
    assert float(values["negative_cosine"]) == pytest.approx(sum(different) / 48, rel=1e-5)
    assert values["loss"].requires_grad
    assert not values["positive_cosine"].requires_grad
    assert not values["negative_cosine"].requires_grad


def test_gradient_by_differences() -> None:
    net, examples = objective().double(), batch(3, dtype=torch.float64)
    weights = dict(net.named_parameters())
    names = list(weights)

    def loss(*values: Tensor) -> Tensor:
        return torch.func.functional_call(net, dict(zip(names, values, strict=True)), (examples,))["loss"]

    assert torch.autograd.gradcheck(loss, tuple(weights.values()))


def test_order_of_examples_and_views_does_not_matter() -> None:
    net, examples = objective(), batch()
    order = torch.tensor([3, 1, 0, 2])
    expected = float(net(examples)["loss"].detach())
    assert float(net({k: v[order] for k, v in examples.items()})["loss"].detach()) == pytest.approx(expected, rel=1e-5)
    swapped = {"view1": examples["view2"], "view2": examples["view1"]}
    assert float(net(swapped)["loss"].detach()) == pytest.approx(expected, rel=1e-5)


def test_partners_stay_partners_over_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    net, examples = objective(), batch(6)
    expected = net(examples)
    mine, theirs = ({k: part(v) for k, v in examples.items()} for part in (lambda v: v[:2], lambda v: v[2:]))
    with torch.no_grad():  # what the other process would send: its view 1, then its view 2
        sent = iter([net.projector(net.encoder(theirs[v]).mean((2, 3))) for v in ("view1", "view2")])
    monkeypatch.setattr(pair, "gather", lambda z: torch.cat([z, next(sent)]))
    found = net(mine)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)


def test_half_precision_networks_have_a_loss_in_float32() -> None:
    net = objective()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        values = net(batch())
    assert all(v.dtype == torch.float32 for v in values.values())
    plain = net(batch())
    assert float(values["loss"].detach()) == pytest.approx(float(plain["loss"].detach()), rel=0.05)


def test_schedule_sets_the_temperature_of_the_step() -> None:
    schedule = CosineSchedule(0.1, 1.0, periods=1)
    net = objective()
    net = PairObjective(
        net.encoder, net.projector, LOSS, schedule=lambda s: partial(info_nce, temperature=schedule.at(s))
    )
    for share, tau in ((0.0, 1.0), (0.5, 0.1), (0.25, 0.55)):
        net.begin_step(share)
        found = float(net(batch())["loss"].detach())
        fixed = objective(loss=partial(info_nce, temperature=Constant(tau)))
        assert found == pytest.approx(float(fixed(batch())["loss"].detach()), rel=1e-5)


def test_one_example_is_refused() -> None:
    with pytest.raises(SettingsError, match="batch of at least 2"):
        objective()(batch(1))
