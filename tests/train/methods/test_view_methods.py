"""The methods that align two views: presets, short runs through the trainer, useful encoders, helpful refusals."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from napari_medssl.errors import SettingsError
from napari_medssl.models.bundle import load_bundle
from napari_medssl.models.encoder import build_encoder
from napari_medssl.pretext.scan import Scan
from napari_medssl.progress import finish
from napari_medssl.settings import check, from_dict, to_dict
from napari_medssl.train.method import find_method
from napari_medssl.train.trainer import train_on

NAMES = [
    "moco-v2", "byol", "simsiam", "barlow-twins", "vicreg", "logdet", "dino", "swav", "w-mse", "zero-icl", "zero-fcl",
    "zero-cl", "arb", "pirl",
]  # fmt: skip


def _scans(size: int = 64, count: int = 4) -> list[Scan]:
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:size, :size]
    images = []
    for _ in range(count):
        at = rng.uniform(0.3, 0.7, (5, 2)) * size
        blobs = [np.exp(-((y - a) ** 2 + (x - b) ** 2) / size) for a, b in at]
        images.append((200 * np.stack(blobs) + rng.integers(0, 40, (5, size, size))).astype(np.uint8))
    return [Scan(image, None, (3.0, 1.0, 1.0), f"{i}.nii", "group", str(i)) for i, image in enumerate(images)]


def _quick(name: str, **run: Any) -> Any:
    settings = find_method(name).small
    options = json.dumps({"in_slices": 1, "width": 8, "channels": 16})
    changes = {"steps": 2, "monitor_every": 0, "workers": 0, "validation_share": 0.0, **run}
    return replace(settings, size=32, encoder_options=options, run=replace(settings.run, **changes))


@pytest.mark.parametrize("name", NAMES)
def test_a_short_run_gives_an_encoder_of_slices(name: str, tmp_path: Path) -> None:
    settings = _quick(name)
    rows: list[dict[str, float]] = []
    path = finish(
        train_on(_scans(32), tmp_path, find_method(name), settings),
        lambda p: rows.append(p.values) if getattr(p, "values", None) else None,  # type: ignore[attr-defined]
    )
    assert 0 < rows[-1]["spread"] <= 1
    module = load_bundle(path).modules["encoder"]
    encoder: Any = build_encoder(module["name"], **module["config"])
    encoder.load_state_dict(load_bundle(path).state("encoder"))
    with torch.no_grad():
        assert encoder(torch.rand(1, 1, 32, 32)).shape == (1, 16, 8, 8)


@pytest.mark.parametrize("name", ["byol", "moco-v2", "dino", "arb"])
def test_a_resumed_run_equals_an_uninterrupted_one(name: str, tmp_path: Path) -> None:
    whole = finish(train_on(_scans(32), tmp_path / "whole", find_method(name), _quick(name, steps=4)))
    for folder in ("whole", "parts"):
        (tmp_path / folder).mkdir(exist_ok=True)
    going = train_on(_scans(32), tmp_path / "parts", find_method(name), _quick(name, steps=4))
    for _ in range(2):
        next(going)
    going.close()
    parts = finish(train_on(_scans(32), tmp_path / "parts", find_method(name), _quick(name, steps=4)))
    one, two = load_bundle(whole), load_bundle(parts)
    assert all(torch.equal(one.tensors[k], two.tensors[k]) for k in one.tensors)


@pytest.mark.parametrize("name", NAMES)
def test_settings_are_sound(name: str) -> None:
    method = find_method(name)
    check(method.settings())
    check(method.small)
    assert from_dict(method.settings, to_dict(method.small)) == method.small
    assert method.settings().run.batch == 128
    assert method.settings().run.optim.schedule == "cosine"


@pytest.mark.parametrize("name", NAMES)
def test_the_loss_falls_on_a_batch_it_sees_again(name: str) -> None:
    torch.manual_seed(0)
    recipe = find_method(name).build(_quick(name))
    drawn = [recipe.task.draw(_scans(32), np.random.default_rng([3, n])) for n in range(16)]
    batch = recipe.task.prepare({key: torch.stack([d[key] for d in drawn]) for key in drawn[0]})
    net = recipe.objective.train()
    optimiser = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], 2e-3)
    losses = []
    for n in range(15):
        net.begin_step(0.5 + n / 30)
        optimiser.zero_grad()
        loss = net(batch)["loss"]
        loss.backward()
        optimiser.step()
        net.end_step()
        losses.append(loss.item())
    # A queue fills with keys of the same few images at first, which are hard negatives.
    start = max(losses[:3]) if name in ("moco-v2", "pirl") else losses[0]
    assert min(losses[-3:]) < 0.98 * start


def test_published_presets() -> None:
    expected = {
        "moco-v2": ("sgd", 0.06), "byol": ("sgd", 0.06), "barlow-twins": ("sgd", 0.06), "simsiam": ("sgd", 0.025),
        "vicreg": ("lars", 0.1), "swav": ("lars", 0.3), "dino": ("adamw", 2.5e-4), "w-mse": ("adam", 2e-3),
        "pirl": ("sgd", 0.015), "arb": ("lars", 0.075 * 128**0.5), "logdet": ("lars", 0.075 * 128**0.5),
    }  # fmt: skip
    for name, pair in expected.items():
        optim = find_method(name).settings().run.optim
        assert (optim.name, optim.learning_rate) == pair
    assert find_method("moco-v2").settings().temperature == 0.07  # thesis 5.5.2
    assert find_method("pirl").settings().bank == 1024  # thesis 3.5.3.2
    for name in ("barlow-twins", "vicreg", "zero-fcl", "zero-cl", "arb", "logdet"):
        assert find_method(name).settings().width == 2048  # thesis Table 5.5
    assert find_method("zero-icl").settings().width == 256


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("w-mse", {"width": 16}, "whiten 16 rows of 16 numbers"),
        ("arb", {"group": 16}, "less than the batch"),
        ("arb", {"group": 7}, "divisor of the width"),
        ("pirl", {"patch": 24}, "at most 10"),
    ],
)
def test_settings_that_cannot_work_are_refused(name: str, changes: dict[str, int], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        find_method(name).build(replace(_quick(name), **changes))
