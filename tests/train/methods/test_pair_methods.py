"""The methods that compare pairs: their losses, published settings, refusals, and that they learn."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor

from napari_medssl.errors import SettingsError, WeightsError
from napari_medssl.losses.binary import binary_contrastive, combo
from napari_medssl.losses.dcl import dcl, dclw
from napari_medssl.losses.infonce import info_nce
from napari_medssl.losses.macl import macl
from napari_medssl.losses.mio import mio_v1, mio_v2, mio_v3
from napari_medssl.losses.temperature import AlignmentTemperature, Attached, Constant, CosineSchedule
from napari_medssl.losses.temperature_profiles import CosineProfile, OdeProfile, ShiftedProfile, profiles
from napari_medssl.models.encoder import build_encoder
from napari_medssl.models.heads import pooled
from napari_medssl.pretext.scan import Scan
from napari_medssl.train.loader import Examples, collate
from napari_medssl.train.method import Method, all_methods
from napari_medssl.train.methods.dystress import ProfileName
from napari_medssl.train.trainer import build_recipe

NAMES = ["simclr", "dcl", "dclw", "binary", "combo", "mio-v1", "mio-v2", "mio-v3", "dystress", "dystress-dcl", "macl"]


def method(name: str) -> Method:
    return all_methods()[name]


def scans() -> list[Scan]:
    """Slices with a bright disc of another size and place each."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:64, :64]
    made = []
    for i in range(2):
        slices = []
        for _ in range(8):
            (cy, cx), radius = rng.uniform(16, 48, 2), rng.uniform(6, 16)
            disc = (y - cy) ** 2 + (x - cx) ** 2 < radius**2
            slices.append(60 + 40 * rng.random((64, 64)) + 120 * disc)
        made.append(Scan(np.array(slices).astype(np.uint8), None, (3.0, 2.0, 2.0), f"{i}.nii", "discs", str(i)))
    return made


def batch_of(recipe: Any, count: int = 8) -> dict[str, Tensor]:
    examples = Examples(recipe.task, scans(), seed=1)
    return recipe.task.prepare(collate([examples[n] for n in range(count)]))


PUBLISHED = {
    "simclr": partial(info_nce, temperature=Constant(0.1)),
    "dcl": partial(dcl, temperature=Constant(0.1)),
    "dclw": partial(dclw, temperature=Constant(0.1), sigma=0.5),
    "binary": partial(binary_contrastive, temperature=Constant(0.25), reduction="pairs"),
    "combo": partial(combo, temperature=Constant(0.25), contr_temperature=Constant(0.33), weight=1.0),
    "mio-v1": partial(mio_v1, temperature=Constant(0.2)),
    "mio-v2": partial(mio_v2, temperature=Constant(0.2)),
    "mio-v3": partial(mio_v3, temperature=Constant(0.2)),
    "dystress": partial(info_nce, temperature=CosineProfile(0.1, 0.2)),
    "dystress-dcl": partial(dcl, temperature=CosineProfile(0.1, 0.2)),
    "macl": partial(macl, temperature=AlignmentTemperature(0.1, 0.5, 0.0)),
}
CHOSEN = [
    ("dclw", {"temperature": 0.2, "sigma": 1.0}, partial(dclw, temperature=Constant(0.2), sigma=1.0)),
    ("binary", {"reduction": "printed"}, partial(binary_contrastive, reduction="printed")),
    (
        "combo",
        {"temperature": 0.3, "contr_temperature": 0.5, "combo_weight": 2.0, "reduction": "pairs"},
        partial(combo, temperature=Constant(0.3), contr_temperature=Constant(0.5), weight=2.0, reduction="pairs"),
    ),
    ("mio-v3", {"temperature": 0.5}, partial(mio_v3, temperature=Constant(0.5))),
    (
        "dystress",
        {"profile": "shifted", "shift": -0.4, "lowest": 0.07},
        partial(info_nce, temperature=ShiftedProfile(0.07, 0.2, -0.4)),
    ),
    (
        "dystress-dcl",
        {"profile": "ode", "strength": 0.3, "highest": 0.5},
        partial(dcl, temperature=OdeProfile(0.1, 0.5, 0.3)),
    ),
    (
        "macl",
        {"reweight": False, "alpha": 1.0, "start": -0.5},
        partial(info_nce, temperature=AlignmentTemperature(0.1, 1.0, -0.5)),
    ),
]


@pytest.mark.parametrize(("name", "changes", "loss"), [*[(n, {}, loss) for n, loss in PUBLISHED.items()], *CHOSEN])
def test_settings_reach_the_loss(name: str, changes: dict[str, Any], loss: Any) -> None:
    recipe = build_recipe(method(name), replace(method(name).small, **changes))
    batch = batch_of(recipe)
    net = recipe.objective.eval()  # without the batch's own statistics, so that the views can be embedded one by one
    with torch.no_grad():
        found = net(batch)["loss"]
        z1, z2 = (net.projector(pooled(net.encoder(batch[v]))) for v in ("view1", "view2"))
    torch.testing.assert_close(found, loss(z1, z2), rtol=1e-4, atol=1e-5)


def test_temperature_of_simclr_may_swing() -> None:
    settings = replace(method("simclr").small, schedule="cosine", highest=0.8, periods=1.0)
    net = build_recipe(method("simclr"), settings).objective.eval()
    batch = batch_of(build_recipe(method("simclr"), settings))
    for share in (0.0, 0.5):
        net.begin_step(share)
        with torch.no_grad():
            z1, z2 = (net.projector(pooled(net.encoder(batch[v]))) for v in ("view1", "view2"))
            expected = info_nce(z1, z2, CosineSchedule(0.1, 0.8, 1.0).at(share))
            torch.testing.assert_close(net(batch)["loss"], expected, rtol=1e-4, atol=1e-5)


def test_attached_temperature_changes_the_gradient_only() -> None:
    found = []
    for attach in (False, True):
        recipe = build_recipe(method("dystress"), replace(method("dystress").small, attach=attach))
        loss = recipe.objective(batch_of(recipe))["loss"]
        loss.backward()
        found.append((float(loss.detach()), recipe.objective.encoder.out.weight.grad))
    assert found[0][0] == found[1][0]
    assert not torch.allclose(found[0][1], found[1][1])


@pytest.mark.parametrize("name", NAMES)
def test_learns_eight_examples(name: str) -> None:
    recipe = build_recipe(method(name), method(name).small)
    batch, net = batch_of(recipe), recipe.objective.train()
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-3)
    first: dict[str, float] = {}
    for _ in range(15):
        values = net(batch)
        optimiser.zero_grad()
        values["loss"].backward()
        optimiser.step()
        last = {k: float(v.detach()) for k, v in values.items()}
        first = first or last
    assert last["loss"] < first["loss"]
    gap = [v["positive_cosine"] - v["negative_cosine"] for v in (first, last)]
    assert gap[1] > gap[0] + 0.3


def test_published_optimisers_and_projectors() -> None:
    for name in NAMES:
        settings = method(name).settings()
        optim = settings.run.optim
        if name in ("binary", "combo"):  # thesis 4.5.2.1
            published = ("lars", 0.1, "cosine", 64, 512, False)
            assert (optim.momentum, optim.weight_decay, optim.trust, optim.warmup) == (0.9, 1e-6, 1e-3, 0.0)
        else:  # thesis 5.5.2, 6.5.2.1
            published = ("sgd", 0.06, "cosine", 128, 128, True)
            assert (optim.momentum, optim.weight_decay) == (0.9, 5e-4)
        found = (optim.name, optim.learning_rate, optim.schedule, settings.run.batch, settings.width, settings.norm)
        assert found == published
    layers = [type(m).__name__ for m in build_recipe(method("dystress"), method("dystress").small).objective.projector]
    assert layers == ["Linear", "BatchNorm1d", "ReLU", "Linear", "BatchNorm1d"]
    layers = [type(m).__name__ for m in build_recipe(method("combo"), method("combo").small).objective.projector]
    assert layers == ["Linear", "ReLU", "Linear"]


def test_every_profile_can_be_chosen() -> None:
    assert sorted(get_args(ProfileName)) == list(profiles)
    assert Attached(CosineProfile(0.1, 0.2)).least == method("dystress").settings().lowest


def test_mio_v3_is_refused_at_a_low_temperature_before_it_trains() -> None:  # B5-20
    with pytest.raises(SettingsError, match="use MIOv1 or MIOv2"):
        build_recipe(method("mio-v3"), replace(method("mio-v3").small, temperature=0.07))
    build_recipe(method("mio-v2"), replace(method("mio-v2").small, temperature=0.07))


def test_profile_without_positive_temperatures_is_refused() -> None:
    with pytest.raises(SettingsError, match="lowest <= highest"):
        build_recipe(method("dystress"), replace(method("dystress").small, lowest=0.3))


def test_starts_from_given_weights(tmp_path: Path) -> None:
    options = {"encoder": "resnet18-s8", "encoder_options": '{"width": 8, "channels": 32}'}
    given = build_encoder("resnet18-s8", width=8, channels=32, input_size=64)
    torch.save({f"backbone.{k}": v for k, v in given.state_dict().items()}, tmp_path / "resnet.pth")
    settings = replace(method("binary").small, **options, start_from=str(tmp_path / "resnet.pth"))
    encoder = build_recipe(method("binary"), settings).objective.encoder
    assert torch.equal(encoder.layer3[0].conv1.weight, given.layer3[0].conv1.weight)
    with pytest.raises(WeightsError, match="no weights file"):
        build_recipe(method("binary"), replace(settings, start_from=str(tmp_path / "none.pth")))
