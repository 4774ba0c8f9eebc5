"""The jigsaw and geometric methods: sizes as published, a short run through the trainer, useful encoders."""

from __future__ import annotations

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
from napari_medssl.settings import check
from napari_medssl.train.method import find_method
from napari_medssl.train.methods.jigsaw import SkidSettings, SslaclSettings
from napari_medssl.train.trainer import train_on

NAMES = ["sslacl", "skid-v1", "skid-v2", "skid-v3", "skid-noblocks", "geometric", "rotation"]


def scans(size: int, count: int = 4) -> list[Scan]:
    images = np.random.default_rng(1).integers(0, 256, (count, 5, size, size), dtype=np.uint8)
    return [Scan(image, None, (3.0, 1.0, 1.0), f"{i}.nii", "group", str(i)) for i, image in enumerate(images)]


@pytest.mark.parametrize("name", NAMES)
def test_a_small_run_gives_an_encoder_of_slices(name: str, tmp_path: Path) -> None:
    method = find_method(name)
    run = replace(method.small.run, steps=2, batch=2, monitor_every=0, workers=0)
    settings = replace(method.small, run=run)
    check(settings)
    check(method.settings())
    path = finish(train_on(scans(settings.size), tmp_path, method, settings))
    bundle = load_bundle(path)
    module = bundle.modules["encoder"]
    encoder: Any = build_encoder(module["name"], **module["config"])
    encoder.load_state_dict(bundle.state("encoder"))
    slices = torch.rand(1, encoder.in_slices, 64, 64)
    with torch.no_grad():
        features = encoder(slices)
    assert features.shape == (1, encoder.channels, 64 // encoder.stride, 64 // encoder.stride)


@pytest.mark.parametrize("name", ["sslacl", "skid-v3", "geometric", "rotation"])
def test_eight_examples_are_learned_by_heart(name: str) -> None:
    method = find_method(name)
    torch.manual_seed(0)
    recipe = method.build(method.small)
    drawn = [recipe.task.draw(scans(method.small.size), np.random.default_rng([3, n])) for n in range(8)]
    batch = recipe.task.prepare({key: torch.stack([d[key] for d in drawn]) for key in drawn[0]})
    optimiser = torch.optim.Adam(recipe.objective.train().parameters(), 2e-3)
    for _ in range(40):
        optimiser.zero_grad()
        out = recipe.objective(batch)
        out["loss"].backward()
        optimiser.step()
    assert float(out["accuracy"]) == 1


def test_published_sizes_and_schedule() -> None:
    with torch.device("meta"):
        sslacl = find_method("sslacl").build(SslaclSettings(width=1.0, norm=False))
        skid = find_method("skid-v3").build(SkidSettings(width=1.0))
    assert sum(p.numel() for p in sslacl.objective.parameters()) == pytest.approx(173.0e6, rel=1e-3)
    assert sum(p.numel() for p in skid.objective.parameters()) == pytest.approx(217.63e6, rel=1e-3)
    for settings, batch in ((SslaclSettings(), 32), (SkidSettings(), 16)):
        optim = settings.run.optim
        assert (optim.name, optim.learning_rate, optim.schedule, optim.decay) == ("rmsprop", 1e-4, "exponential", 0.95)
        assert settings.run.batch == batch


def test_labels_keep_their_meaning_in_the_checkpoint() -> None:
    recipe = find_method("skid-v1").build(find_method("skid-v1").small)
    kept = recipe.objective.state_dict()["arrangements"].numpy()
    np.testing.assert_array_equal(kept, recipe.task.arrangements)  # type: ignore[attr-defined]  # of this task


def test_a_patch_the_network_cannot_halve_is_refused() -> None:
    with pytest.raises(SettingsError, match="patch is 60; .* multiple of 16"):
        find_method("skid-v1").build(SkidSettings(patch=60))
