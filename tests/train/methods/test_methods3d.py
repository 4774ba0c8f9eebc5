"""Every method on volumes: one step reaches the encoder, and eight fixed examples can be learned by heart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch.utils.data import default_collate

from napari_medssl.pretext.scan import Scan
from napari_medssl.pretext.task import Example
from napari_medssl.settings import check, from_dict, to_dict
from napari_medssl.train.method import Recipe, find_method
from napari_medssl.train.methods.relative_location import INPUTS as CUBES
from napari_medssl.train.methods.rotation3d import INPUTS as TURNED
from napari_medssl.train.objective import Objective
from napari_medssl.train.optimisers import make_optimiser

METHODS = (
    "rot3d",
    "rpl",
    "jigsaw3d",
    "rubik",
    "rubik-plus",
    "autoencoder",
    "model-genesis",
    "pcrl",
    "simclr3d",
    "byol3d",
    "voxel-contrast",
)

# What learning eight examples by heart looks like: a scalar of the objective, and what it reaches.
OVERFIT = {
    "rot3d": ("accuracy", 1.0),
    "rpl": ("accuracy", 1.0),
    "jigsaw3d": ("accuracy", 1.0),
    "rubik": ("accuracy", 1.0),
    "rubik-plus": ("accuracy", 1.0),
    "autoencoder": ("loss", 0.008),
    "model-genesis": ("loss", 0.01),
    "pcrl": ("loss", 0.055),
    "simclr3d": ("loss", 0.3),
    "byol3d": ("loss", 0.3),
    "voxel-contrast": ("loss", 0.5),
}


def scans() -> list[Scan]:
    rng = np.random.default_rng(0)
    made = []
    for n in range(2):
        smooth = ndimage.gaussian_filter(rng.normal(size=(56, 64, 64)), 2)
        image = (np.clip(smooth / smooth.std() * 60 + 128, 0, 255)).astype(np.uint8)
        made.append(Scan(image, None, (2.0, 2.0, 2.0), f"{n}.nii", "group", f"subject {n}"))
    return made


def recipe_of(name: str, **changes: int) -> Recipe:
    method = find_method(name)
    torch.manual_seed(0)
    recipe = method.build(replace(method.small, **changes))
    recipe.objective.train()
    return recipe


def prepared(recipe: Recipe, count: int) -> Example:
    drawn = [recipe.task.draw(scans(), np.random.default_rng([0, n])) for n in range(count)]
    return recipe.task.prepare(default_collate(drawn))


def loss_of(objective: Objective, batch: Example) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    found = objective(batch)
    return found["loss"], found


@pytest.mark.parametrize("name", METHODS)
def test_a_step_reaches_every_trained_weight_of_the_encoder(name: str) -> None:
    recipe = recipe_of(name)
    loss, found = loss_of(recipe.objective, prepared(recipe, 4))
    loss.backward()
    assert torch.isfinite(loss)
    assert all(v.ndim == 0 and not v.requires_grad for k, v in found.items() if k != "loss")
    for parameter in recipe.objective.encoder.parameters():
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()
        assert parameter.grad.abs().max() > 0
    unused = [n for n, p in recipe.objective.named_parameters() if p.requires_grad and p.grad is None]
    assert not unused  # DistributedDataParallel waits for all of them


@pytest.mark.parametrize("name", METHODS)
def test_eight_examples_are_learned_by_heart(name: str) -> None:
    recipe = recipe_of(name, crop_z=16, crop_y=16, crop_x=16)
    batch = prepared(recipe, 8)
    optimiser = torch.optim.Adam([p for p in recipe.objective.parameters() if p.requires_grad], 2e-3)
    scalar, wanted = OVERFIT[name]
    for _ in range(120):
        recipe.objective.begin_step(0.0)
        loss, found = loss_of(recipe.objective, batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        recipe.objective.end_step()
        reached = float(found[scalar].detach())
        if reached == wanted == 1.0 or (wanted < 1 and reached <= wanted):
            return
    pytest.fail(f"{scalar} only reached {reached}")


@pytest.mark.parametrize("name", METHODS)
def test_settings_hold_and_survive_json(name: str) -> None:
    method = find_method(name)
    for settings in (method.settings(), method.small):
        check(settings)
        assert from_dict(method.settings, to_dict(settings)) == settings
    assert method.dims == 3
    make_optimiser(recipe_of(name).objective, method.small.run.optim)
    assert recipe_of(name).role == "encoder3d"


def test_the_papers_input_sizes() -> None:
    assert {name: s.crop[::-1] for name, s in (TURNED | CUBES).items()} == {  # type: ignore[operator]
        "ROT-48": (48, 48, 32),
        "ROT-64": (64, 64, 64),
        "ROT-128": (128, 128, 64),
        "RPL-48": (48, 48, 32),
        "RPL-64": (64, 64, 32),
        "RPL-96": (96, 96, 32),
    }


def test_heads_have_the_label_spaces_of_the_paper() -> None:
    widths = {}
    for name in ("rot3d", "rpl", "jigsaw3d"):
        method = find_method(name)
        recipe = method.build(replace(method.settings(), width=0.03125))
        head = recipe.objective.head
        widths[name] = [m.out_features for m in head.modules() if isinstance(m, torch.nn.Linear)]
    assert widths == {"rot3d": [1024, 10], "rpl": [64, 1024, 26], "jigsaw3d": [64, 1024, 1024, 100]}
    method = find_method("rubik-plus")
    objective = method.build(replace(method.settings(), width=0.03125)).objective
    assert objective.order[-1].out_features == 100
    assert {n: h[-1].out_features for n, h in objective.flags.items()} == {"turned_x": 8, "turned_z": 8, "masked": 8}


def test_the_cubes_loss_is_the_weighted_sum_of_the_papers_terms() -> None:
    method = find_method("rubik-plus")
    settings = replace(method.small, order_weight=2.0, turn_weight=3.0, mask_weight=5.0)
    torch.manual_seed(0)
    recipe = method.build(settings)
    objective = recipe.objective
    objective.eval()
    batch = prepared(recipe, 3)
    joined = objective.joined(
        torch.cat([objective.encoder(batch["patches"][:, i]).mean((2, 3, 4)) for i in range(8)], 1)
    )
    probabilities = objective.order(joined).softmax(1)
    expected = -2 * torch.stack([probabilities[b, batch["label"][b]].log() for b in range(3)]).mean()
    for flag, weight in (("turned_x", 3), ("turned_z", 3), ("masked", 5)):
        p, y = objective.flags[flag](joined).sigmoid(), batch[flag]
        expected = expected - weight * (y * p.log() + (1 - y) * (1 - p).log()).mean()
    torch.testing.assert_close(objective(batch)["loss"], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["simclr3d", "byol3d"])
def test_the_strength_decides_how_views_are_moved(name: str) -> None:
    method = find_method(name)

    def turned(strength: str) -> torch.Tensor:
        scan = Scan(np.full((24, 32, 32), 90, np.uint8), None, (2.0, 2.0, 2.0), "a", "g", "a")
        task = method.build(replace(method.small, strength=strength)).task
        rng = np.random.default_rng(0)
        return torch.stack([task.draw([scan], rng)["affine1"] for _ in range(20)])

    assert torch.equal(turned("none"), torch.eye(3).expand(20, 3, 3))
    flips = turned("S1")
    assert torch.equal(flips.abs(), torch.eye(3).expand(20, 3, 3))
    assert bool((flips < 0).any())
    assert len({float(m.det().abs().round(decimals=3)) for m in turned("S6")}) > 3  # scaled by different amounts
    assert not torch.equal(turned("own"), turned("S6"))
