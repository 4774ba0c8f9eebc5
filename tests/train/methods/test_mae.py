"""The masked methods: a short run through the trainer gives a useful encoder; a small one learns examples by heart."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from napari_medssl.errors import SettingsError
from napari_medssl.models.bundle import load_bundle, load_module
from napari_medssl.models.encoder import build_encoder
from napari_medssl.models.encoder3d import build_encoder3d
from napari_medssl.pretext.scan import Scan
from napari_medssl.progress import finish
from napari_medssl.settings import check
from napari_medssl.train.method import find_method
from napari_medssl.train.trainer import train_on

CONVOLUTIONAL = {"encoder": "slice-resnet", "encoder_options": '{"width": 8, "channels": 16}'}
CASES: list[tuple[str, dict[str, Any]]] = [
    ("mae2d", {}),
    ("mae2d", CONVOLUTIONAL),
    ("mae3d", {}),
    ("mae3d", {"encoder": "unet3d"}),
]


def smooth_scans(size: int = 64) -> list[Scan]:
    """Ellipsoids of random places: something that can be restored."""
    rng = np.random.default_rng(0)
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in (20, size, size)), indexing="ij")
    images = []
    for _ in range(4):
        cz, cy, cx = rng.uniform(-0.3, 0.3, 3)
        distance = np.sqrt((z - cz) ** 2 + (y - cy) ** 2 + (x - cx) ** 2)
        images.append((255 * np.clip(1.3 - distance, 0, 1)).astype(np.uint8))
    return [Scan(image, None, (2.0, 2.0, 2.0), f"{i}.nii", "group", str(i)) for i, image in enumerate(images)]


def small(name: str, **changes: Any) -> Any:
    return replace(find_method(name).small, **changes)


@pytest.mark.parametrize(("name", "changes"), CASES)
def test_a_short_run_gives_an_encoder(name: str, changes: dict[str, Any], tmp_path: Path) -> None:
    method = find_method(name)
    settings = small(name, **changes)
    settings = replace(settings, run=replace(settings.run, steps=3, batch=4, monitor_every=3, workers=0))
    check(settings)
    check(method.settings())
    bundle = load_bundle(finish(train_on(smooth_scans(), tmp_path, method, settings)))
    (role,) = bundle.modules
    module = bundle.modules[role]
    build = build_encoder if role == "encoder" else build_encoder3d
    encoder: Any = load_module(build(module["name"], **module["config"]), bundle.state(role), role)
    image = torch.rand(1, encoder.in_slices, 96, 64) if role == "encoder" else torch.rand(1, 1, 24, 32, 40)
    with torch.no_grad():
        features = encoder(image)
    assert features.shape == (1, encoder.channels, *(s // encoder.stride for s in image.shape[2:]))


@pytest.mark.parametrize(("name", "changes"), CASES)
def test_examples_are_learned_by_heart(name: str, changes: dict[str, Any]) -> None:
    torch.manual_seed(0)
    method, settings = find_method(name), small(name, **changes)
    recipe = method.build(settings)
    drawn = [recipe.task.draw(smooth_scans(), np.random.default_rng([3, n])) for n in range(8)]
    batch = recipe.task.prepare({key: torch.stack([d[key] for d in drawn]) for key in drawn[0]})
    optimiser = torch.optim.AdamW(recipe.objective.train().parameters(), 5e-3)
    steps = 25 if changes else 80  # a transformer first has to find where things are
    losses = []
    start = time.perf_counter()
    for _ in range(steps):
        optimiser.zero_grad()
        out = recipe.objective(batch)
        out["loss"].backward()
        optimiser.step()
        losses.append(out["loss"].item())
    assert (time.perf_counter() - start) / steps < 1
    assert losses[-1] < 0.25 * losses[0]
    spread = ((batch["target"] - batch["target"].mean()).square() * batch["weight"]).sum() / batch["weight"].sum()
    assert losses[-1] < 0.5 * spread  # better than a grey image


def test_l1_and_standardised_targets_are_used() -> None:
    recipe = find_method("mae2d").build(small("mae2d", loss="l1", standardise=True))
    batch = recipe.task.prepare(
        {k: v[None] for k, v in recipe.task.draw(smooth_scans(), np.random.default_rng(0)).items()}
    )
    out = recipe.objective(batch)
    assert out["loss"].item() == out["absolute_error"].item()
    assert batch["target"].min() < -0.5


def test_patches_must_fit() -> None:
    with pytest.raises(SettingsError, match="patches of 12 do not tile an image of 64 x 64"):
        find_method("mae2d").build(small("mae2d", patch=12, **CONVOLUTIONAL))
    with pytest.raises(SettingsError, match="no whole number of the encoder's patches of 16"):
        find_method("mae2d").build(small("mae2d", encoder_options=json.dumps({"patch": 16})))
