"""What every pretraining method must do, whatever it is."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from napari_medssl.models.bundle import load_bundle, load_module
from napari_medssl.models.encoder import build_encoder
from napari_medssl.models.encoder3d import build_encoder3d
from napari_medssl.pretext.scan import Scan
from napari_medssl.progress import finish
from napari_medssl.settings import check, to_dict
from napari_medssl.train.loader import Examples, collate
from napari_medssl.train.method import Method, all_methods
from napari_medssl.train.trainer import build_recipe, train_on

METHODS = all_methods()
_NAMES = (
    "simclr dcl dclw binary combo mio-v1 mio-v2 mio-v3 dystress dystress-dcl macl moco-v2 byol simsiam barlow-twins "
    "vicreg dino swav w-mse pirl zero-icl zero-fcl zero-cl arb logdet sslacl skid-v1 skid-v2 skid-v3 skid-noblocks "
    "geometric rotation rot3d rpl jigsaw3d rubik rubik-plus autoencoder model-genesis pcrl simclr3d byol3d mae2d mae3d "
    "cowpro incontext propagation guided-propagation recognition voxel-contrast"
)
every = pytest.mark.parametrize("method", METHODS.values(), ids=list(METHODS))


def body_scan(seed: int, shape: tuple[int, int, int]) -> Scan:
    """Something like a body: an ellipse with a few organs, on dark ground."""
    rng = np.random.default_rng(seed)
    at = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij"))
    image = np.where((at[1] ** 2 + at[2] ** 2) < 0.8, 90.0, 2.0)
    labels = np.zeros(shape, np.uint8)
    for organ in range(1, 4):
        centre = rng.uniform(-0.4, 0.4, 3)[:, None, None, None]
        inside = (((at - centre) / np.array([0.8, 0.3, 0.3])[:, None, None, None]) ** 2).sum(0) < 1
        labels[inside] = organ
        image[inside] = 100 + 40 * organ
    image = np.clip(image + rng.normal(0, 6, shape), 0, 255).astype(np.uint8)
    return Scan(image, labels, (3.0, 2.0, 2.0), f"body_{seed}.nii", "bodies", f"body_{seed}")


def scans_for(method: Method, settings: Any) -> list[Scan]:
    size = getattr(settings, "size", 0) if method.dims == 2 else 0
    shape = (10, size, size) if size else (40, 48, 56)
    return [body_scan(seed, shape) for seed in range(3)]


def test_all_methods_of_the_documents_are_there() -> None:
    assert set(METHODS) >= set(_NAMES.split()), sorted(set(_NAMES.split()) - set(METHODS))


@every
def test_method_explains_itself(method: Method) -> None:
    assert 10 < len(method.line) < 110
    assert method.source
    for settings in (method.settings(), method.small):
        check(settings)
        assert isinstance(settings, method.settings)
        to_dict(settings)
    assert method.small.run.batch <= 16


@every
def test_same_seed_same_sample(method: Method) -> None:
    scans = scans_for(method, method.small)
    tasks = [build_recipe(method, method.small).task for _ in range(2)]
    for n in (0, 3):
        one, two = (Examples(task, scans, seed=2)[n] for task in tasks)
        assert one
        assert set(one) == set(two)
        for name in one:
            assert torch.equal(one[name], two[name]), name
    other = Examples(tasks[0], scans, seed=3)[0]
    assert any(not torch.equal(other[name], value) for name, value in Examples(tasks[0], scans, seed=2)[0].items())


@every
def test_gradient_reaches_the_encoder(method: Method) -> None:
    settings = method.small
    recipe = build_recipe(method, settings)
    examples = Examples(recipe.task, scans_for(method, settings), seed=1)
    recipe.objective.train()
    recipe.objective.begin_step(0.5)
    batch = recipe.task.prepare(collate([examples[n] for n in range(settings.run.batch)]))
    values = recipe.objective(batch)
    assert values["loss"].ndim == 0
    assert bool(torch.isfinite(values["loss"]))
    assert all(not v.requires_grad for name, v in values.items() if name != "loss")
    values["loss"].backward()
    trained = [p for p in recipe.objective.parameters() if p.requires_grad]
    assert all(p.grad is None or bool(torch.isfinite(p.grad).all()) for p in trained)
    used = [p for p in recipe.objective.parameters() if p.grad is not None and float(p.grad.abs().sum()) > 0]
    assert len(used) > len(trained) / 2
    recipe.objective.end_step()


@every
def test_trains_saves_and_loads(method: Method, tmp_path: Path) -> None:
    run = dataclasses.replace(method.small.run, steps=3, log_every=1, monitor_every=0, save_every=2)
    settings = dataclasses.replace(method.small, run=run)
    scans = scans_for(method, settings)
    steps = train_on(scans, tmp_path / "parts", method, settings)
    while next(steps).label != f"training {method.name}":
        pass
    steps.close()
    parts = load_bundle(finish(train_on(scans, tmp_path / "parts", method, settings)))
    whole = load_bundle(finish(train_on(scans, tmp_path / "whole", method, settings)))
    for name in whole.tensors:
        assert torch.equal(whole.tensors[name], parts.tensors[name]), name
    for role, facts in whole.modules.items():
        if role in ("propagator", "reviser", "recogniser"):
            continue
        build = build_encoder3d if role == "encoder3d" else build_encoder
        load_module(build(facts["name"], **facts["config"]), whole.state(role), role)
