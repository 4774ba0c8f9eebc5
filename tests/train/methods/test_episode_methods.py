"""The methods that learn from episodes, through the trainer: they learn, resume exactly and give usable weights."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from napari_medssl.errors import SettingsError
from napari_medssl.io import write
from napari_medssl.models.bundle import join_bundles, load_bundle, load_module, save_bundle
from napari_medssl.models.encoder import build_encoder
from napari_medssl.models.propagator import build_propagator
from napari_medssl.progress import finish
from napari_medssl.samples.phantom import phantom
from napari_medssl.settings import check
from napari_medssl.train.curves import read_curves
from napari_medssl.train.dataset import Case, cases_in
from napari_medssl.train.method import find_method
from napari_medssl.train.trainer import pretrain

NAMES = ["cowpro", "incontext", "propagation"]


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    """Two small phantoms as a labelled set."""
    root = tmp_path_factory.mktemp("set")
    for folder in ("images", "labels"):
        (root / folder).mkdir()
    for seed in (0, 1):
        image, labels = phantom("MR", shape=(12, 64, 64), seed=seed)
        write(root / "images" / f"p{seed}.nii.gz", image)
        write(root / "labels" / f"p{seed}.nii.gz", labels)
    return cases_in([root])


def small(name: str, **run: Any) -> Any:
    settings = find_method(name).small
    common = {"validation_share": 0.0, "monitor_every": 0, "log_every": 1, "workers": 0}
    return replace(settings, run=replace(settings.run, **{**common, **run}))


def train(name: str, cases: list[Case], out: Path, settings: Any = None) -> Path:
    return finish(pretrain(cases, out, name, settings or small(name, steps=2), cache=out.parent / "cache"))


def weights(path: Path) -> dict[str, torch.Tensor]:
    return load_bundle(path).tensors


@pytest.mark.parametrize("name", NAMES)
def test_defaults_and_small_settings_are_within_their_limits(name: str) -> None:
    method = find_method(name)
    check(method.settings())
    check(method.small)
    assert method.family == "episodes"
    assert not method.labels


@pytest.mark.parametrize(("name", "rate", "steps"), [("cowpro", 0.02, 51), ("incontext", 5e-3, 24)])
def test_the_loss_falls(name: str, rate: float, steps: int, cases: list[Case], tmp_path: Path) -> None:
    settings = small(name, steps=steps, batch=4, log_every=steps // 3)
    settings = replace(settings, run=replace(settings.run, optim=replace(settings.run.optim, learning_rate=rate)))
    train(name, cases, tmp_path / "run", settings)
    losses = [row["loss"] for row in read_curves(tmp_path / "run" / "log.csv").values()]
    assert losses[-1] < 0.85 * losses[0]


def test_the_propagator_learns_to_carry_a_mask(cases: list[Case], tmp_path: Path) -> None:
    settings = small("propagation", steps=24, batch=2, log_every=8)
    optim = replace(settings.run.optim, learning_rate=1e-2)
    settings = replace(
        settings, walks=replace(settings.walks, supervoxel_cases=0, steps=1), run=replace(settings.run, optim=optim)
    )
    train("propagation", cases, tmp_path / "run", settings)
    losses = [row["loss"] for row in read_curves(tmp_path / "run" / "log.csv").values()]
    assert losses[-1] < 0.85 * losses[0]


@pytest.mark.parametrize("name", NAMES)
def test_an_interrupted_and_resumed_run_equals_an_uninterrupted_one(
    name: str, cases: list[Case], tmp_path: Path
) -> None:
    settings = small(name, steps=4, batch=1)
    whole = weights(train(name, cases, tmp_path / "whole", settings))
    steps = pretrain(cases, tmp_path / "parts", name, settings, cache=tmp_path / "cache")
    while (progress := next(steps)).done < 3 or not progress.label.startswith("training"):
        pass
    steps.close()
    parts = weights(train(name, cases, tmp_path / "parts", settings))
    assert set(whole) == set(parts)
    assert all(torch.equal(whole[k], parts[k]) for k in whole)
    rows = [read_curves(tmp_path / n / "log.csv") for n in ("whole", "parts")]
    losses = [[values["loss"] for values in part.values()] for part in rows]
    assert losses[0] == losses[1]


def test_what_is_written_builds_the_networks_again_and_can_be_joined(cases: list[Case], tmp_path: Path) -> None:
    encoder, propagator = (load_bundle(train(n, cases, tmp_path / n)) for n in ("incontext", "propagation"))
    assert list(encoder.modules) == ["encoder"]
    assert encoder.modules["encoder"]["name"] == "slice-resnet"
    assert propagator.modules["propagator"]["name"] == "crop-unet"
    assert encoder.card["recipe"] == "incontext"
    assert encoder.card["data"] == {cases[0].group: ["p0.nii.gz", "p1.nii.gz"]}
    save_bundle(tmp_path / "joined.safetensors", join_bundles([encoder, propagator]))
    joined = load_bundle(tmp_path / "joined.safetensors")
    json.loads(json.dumps(joined.card, allow_nan=False))
    made = build_encoder("slice-resnet", **joined.modules["encoder"]["config"])
    load_module(made, joined.state("encoder"), "encoder")
    assert made(torch.rand(1, 3, 64, 64)).shape == (1, 16, 16, 16)
    carrier = build_propagator("crop-unet", **joined.modules["propagator"]["config"])
    load_module(carrier, joined.state("propagator"), "propagator")
    assert carrier(torch.rand(1, 9, 48, 48)).shape == (1, 48, 48)


@pytest.mark.parametrize("name", ["incontext", "propagation"])
def test_unlabelled_scans_are_enough(name: str, cases: list[Case], tmp_path: Path) -> None:
    bare = [replace(case, labels=None) for case in cases]
    found = weights(train(name, bare, tmp_path / "run", small(name, steps=1)))
    assert all(torch.isfinite(t).all() for t in found.values())


def test_superpixels_are_kept_beside_the_prepared_scans(cases: list[Case], tmp_path: Path) -> None:
    train("cowpro", cases, tmp_path / "run")
    assert any((tmp_path / "cache" / "superpixels").iterdir())


def test_batch_norm_statistics_resume_too_and_can_be_frozen(cases: list[Case], tmp_path: Path) -> None:
    settings = replace(small("cowpro", steps=2), encoder="resnet18-s8", encoder_options='{"width": 8, "channels": 16}')
    whole = weights(train("cowpro", cases, tmp_path / "a", settings))
    train("cowpro", cases, tmp_path / "b", replace(settings, run=replace(settings.run, steps=1)))
    parts = weights(train("cowpro", cases, tmp_path / "b", settings))  # COWPRO's rate does not follow the length
    assert all(torch.equal(whole[k], parts[k]) for k in whole)
    assert whole["encoder.bn1.running_mean"].abs().sum() > 0
    frozen = weights(train("cowpro", cases, tmp_path / "c", replace(settings, freeze_norm=True)))
    assert frozen["encoder.bn1.running_mean"].abs().sum() == 0


def test_the_first_weights_depend_on_the_seed_alone(cases: list[Case], tmp_path: Path) -> None:
    still = small("cowpro", steps=1)
    still = replace(still, run=replace(still.run, optim=replace(still.run.optim, learning_rate=0.0)))
    found = []
    for name, seed, noise in (("a", 0, 1), ("b", 0, 2), ("c", 1, 1)):
        torch.manual_seed(noise)
        settings = replace(still, run=replace(still.run, seed=seed))
        found.append(weights(train("cowpro", cases, tmp_path / name, settings))["encoder.stem.0.weight"])
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_where_a_run_starts_from_is_on_the_card(cases: list[Case], tmp_path: Path) -> None:
    first = train("cowpro", cases, tmp_path / "a")
    still = small("cowpro", steps=1)
    optim = replace(still.run.optim, learning_rate=0.0)
    again = replace(still, start_from=str(first), encoder_options="{}", run=replace(still.run, optim=optim))
    second = train("cowpro", cases, tmp_path / "b", again)
    a, b = weights(first), weights(second)
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert load_bundle(first).card["start"] == "random"
    assert load_bundle(second).card["start"] == f"{first} ({load_bundle(first).sha256[:12]})"


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("cowpro", {"encoder": "feature-bank", "encoder_options": ""}, "nothing to train"),
        ("cowpro", {"encoder_options": "[1]"}, "JSON object"),
        ("cowpro", {"exclude_labels": "liver"}, "label values"),
        ("incontext", {"encoder": "unet"}, "no encoder is called"),
        ("propagation", {"propagator": "unet"}, "no propagator is called"),
        ("propagation", {"propagator_options": "{"}, "propagator_options '{' do not fit crop-unet"),
        ("propagation", {"propagator_options": '{"depth": 3}'}, "do not fit crop-unet"),
        ("propagation", {"propagator_options": "[1]"}, "do not fit crop-unet"),
    ],
)
def test_bad_settings_are_refused(
    name: str, change: dict[str, Any], message: str, cases: list[Case], tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=message):
        train(name, cases, tmp_path / "run", replace(small(name, steps=1), **change))


def test_the_published_recipe() -> None:
    run = find_method("cowpro").settings().run
    assert (run.steps, run.batch, run.epoch) == (100_000, 1, 1000)
    assert (run.optim.name, run.optim.learning_rate, run.optim.decay) == ("sgd", 1e-3, 0.95)
    np.testing.assert_allclose([run.optim.momentum, run.optim.weight_decay], [0.9, 5e-4])
