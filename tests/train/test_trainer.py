"""The trainer, with a toy method: length, logs, exact resume, accumulation, bad steps, refusals."""

from __future__ import annotations

import dataclasses
import errno
import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open

from napari_medssl.errors import FormatError, SettingsError, WeightsError
from napari_medssl.models.bundle import load_bundle
from napari_medssl.pretext.task import Example
from napari_medssl.progress import finish
from napari_medssl.train.curves import read_curves
from napari_medssl.train.divergence import DivergedError
from napari_medssl.train.method import Recipe
from napari_medssl.train.precision import Precision
from napari_medssl.train.run_settings import OptimSettings
from napari_medssl.train.trainer import TrainingProgress, pretrain, train_on
from tests.train.toy import BrightnessTask, ToyObjective, ToySettings, toy_method, toy_scans


def settings_with(**run: Any) -> ToySettings:
    toy = {k: run.pop(k) for k in ("poison_from", "poison_steps") if k in run}
    base = ToySettings(**toy)
    return dataclasses.replace(base, run=dataclasses.replace(base.run, **run))


def weights_after(out: Path, settings: ToySettings, scans: list[Any] | None = None) -> dict[str, torch.Tensor]:
    path = finish(train_on(scans or toy_scans(), out, toy_method(), settings))
    return load_bundle(path).tensors


def assert_same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert set(a) == set(b)
    for name in a:
        assert torch.equal(a[name], b[name]), name


def test_loss_falls_and_files_are_there(tmp_path: Path) -> None:
    finish(train_on(toy_scans(), tmp_path, toy_method(), settings_with(steps=80, log_every=10)))
    curves = read_curves(tmp_path / "log.csv")
    assert list(curves) == list(range(10, 81, 10))
    assert curves[80]["loss"] < curves[10]["loss"] / 2
    assert curves[80]["learning_rate"] < curves[10]["learning_rate"]
    bundle = load_bundle(tmp_path / "encoder.safetensors")
    assert bundle.modules == {"encoder": {"name": "toy", "config": {}}}
    assert bundle.card["recipe"] == "toy"
    assert bundle.card["run"]["steps"] == 80
    assert bundle.card["data_hash"]


def test_interrupted_equals_uninterrupted(tmp_path: Path) -> None:
    whole = weights_after(tmp_path / "whole", settings_with())
    steps = train_on(toy_scans(), tmp_path / "parts", toy_method(), settings_with())
    for _ in range(7):  # not a step at which the state is saved by itself, nor one that is logged
        next(steps)
    steps.close()
    torch.manual_seed(99)  # dropout must not depend on the caller's generator
    assert_same(weights_after(tmp_path / "parts", settings_with()), whole)
    a, b = (read_curves(tmp_path / n / "log.csv") for n in ("whole", "parts"))
    for rows in (*a.values(), *b.values()):
        rows.pop("seconds")
    assert a == b


def test_killed_run_goes_on_from_its_last_state(tmp_path: Path) -> None:
    whole = weights_after(tmp_path / "whole", settings_with())
    steps = train_on(toy_scans(), tmp_path / "parts", toy_method(), settings_with())
    for _ in range(10):
        next(steps)
    state = (tmp_path / "parts" / "state.safetensors").read_bytes()
    steps.close()
    (tmp_path / "parts" / "state.safetensors").write_bytes(state)  # as if closing had not come to save: step 8
    assert_same(weights_after(tmp_path / "parts", settings_with()), whole)
    assert list(read_curves(tmp_path / "parts" / "log.csv")) == [3, 6, 9, 12]


def test_the_callers_generator_is_left_alone(tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    weights_after(tmp_path, settings_with())
    assert torch.equal(torch.rand(3), expected)


def test_accumulated_parts_follow_the_whole_batch(tmp_path: Path) -> None:
    # Dropout draws differ between parts; without it the mean of the parts' gradients is the batch's.
    def quiet() -> Any:
        method = toy_method()

        def build(settings: ToySettings) -> Any:
            recipe = method.build(settings)
            recipe.objective.encoder.layers[3].p = 0.0
            return recipe

        return dataclasses.replace(method, build=build)

    one = load_bundle(finish(train_on(toy_scans(), tmp_path / "1", quiet(), settings_with()))).tensors
    two = load_bundle(finish(train_on(toy_scans(), tmp_path / "2", quiet(), settings_with(accumulate=2)))).tensors
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-4, atol=1e-6)


def test_single_bad_steps_are_skipped_and_counted(tmp_path: Path) -> None:
    tensors = weights_after(tmp_path, settings_with(poison_from=2, poison_steps=3))
    assert all(bool(torch.isfinite(t).all()) for t in tensors.values())
    assert read_curves(tmp_path / "log.csv")[12]["skipped"] == 3


def test_a_run_of_bad_steps_ends_it_and_keeps_the_last_good_state(tmp_path: Path) -> None:
    settings = settings_with(steps=60, poison_from=6, poison_steps=100)
    with pytest.raises(DivergedError, match=r"no step from 7 to 26 was finite; lower run\.optim"):
        weights_after(tmp_path, settings)
    state = load_state_step(tmp_path / "state.safetensors")
    assert state == 4


def load_state_step(path: Path) -> int:
    import json

    from safetensors import safe_open

    with safe_open(str(path), framework="pt") as f:
        return int(json.loads(f.metadata()["run"])["step"])


def test_other_settings_or_data_are_refused_on_resume(tmp_path: Path) -> None:
    weights_after(tmp_path, settings_with())
    with pytest.raises(SettingsError, match=r"begun with run\.batch 4 \(now 8\); use the same"):
        weights_after(tmp_path, settings_with(batch=8))
    other = toy_scans()
    other[0] = dataclasses.replace(other[0], image=other[0].image // 2)
    with pytest.raises(SettingsError, match="begun with other scans; use the same"):
        weights_after(tmp_path, settings_with(), other)
    with pytest.raises(SettingsError, match=r"begun with the method toy \(now puppet\); use the same"):
        finish(
            train_on(toy_scans(), tmp_path, dataclasses.replace(toy_method(), name="puppet"), settings_with(batch=8))
        )
    weights_after(tmp_path, settings_with(steps=14))  # a longer run is no other run


def test_a_full_disk_is_said_and_the_state_before_it_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights_after(tmp_path, settings_with())
    state = (tmp_path / "state.safetensors").read_bytes()

    def full(path: Path, content: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(FormatError, match=r"cannot write .*state\.safetensors: the disk is full; free some space"):
            weights_after(tmp_path, settings_with(steps=30))
    assert (tmp_path / "state.safetensors").read_bytes() == state
    weights_after(tmp_path, settings_with(steps=30))
    assert list(read_curves(tmp_path / "log.csv"))[-1] == 30


def test_damaged_state_is_reported(tmp_path: Path) -> None:
    weights_after(tmp_path, settings_with())
    (tmp_path / "state.safetensors").write_bytes(b"nonsense")
    with pytest.raises(WeightsError, match="remove it to start anew"):
        weights_after(tmp_path, settings_with())


def test_progress_carries_the_numbers_of_the_log(tmp_path: Path) -> None:
    seen = list(train_on(toy_scans(), tmp_path, toy_method(), settings_with()))
    training = [p for p in seen if isinstance(p, TrainingProgress)]
    assert [p.done for p in training] == list(range(1, 13))
    assert [p.done for p in training if p.values] == [3, 6, 9, 12]
    assert "loss" in training[-1].note
    assert len({p.label for p in training}) == 1


def test_time_limit_ends_a_run_cooled_down(tmp_path: Path) -> None:
    settings = settings_with(steps=100_000, max_minutes=0.02, log_every=1)
    steps = train_on(toy_scans(), tmp_path, toy_method(), settings)
    rates = [p.values["learning_rate"] for p in steps if isinstance(p, TrainingProgress) and "loss" in p.values]
    assert 5 < len(rates) < 100_000
    assert rates[-1] < 0.1 * max(rates)


def test_batch_that_cannot_be_shared_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"run\.batch 4 cannot be shared evenly by 1 processes in 3 parts"):
        weights_after(tmp_path, settings_with(accumulate=3))


def test_half_precision_on_a_cpu_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"run\.precision bf16 is for GPUs"):
        weights_after(tmp_path, settings_with(precision="bf16"))


def test_an_epoch_without_a_step_has_no_loss(tmp_path: Path) -> None:
    finish(train_on(toy_scans(), tmp_path, toy_method(), settings_with(steps=3, epoch=2)))  # two epochs in each step
    with safe_open(tmp_path / "state.safetensors", framework="pt") as f:
        losses = np.array(json.loads(f.metadata()["run"])["facts"]["epoch_losses"])
    assert np.isnan(losses[1::2]).all()  # and not 0, below which no later loss would fall
    assert (losses[::2] > 0).all()


def test_gradients_of_losses_are_in_full_precision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, bool] = {}

    class Watching(ToyObjective):
        def forward(self, batch: Example) -> dict[str, torch.Tensor]:
            found = super().forward(batch)
            seen["forward"] = torch.is_autocast_enabled("cpu")
            found["loss"].register_hook(lambda _: seen.update(backward=torch.is_autocast_enabled("cpu")))
            return found

    def build(settings: ToySettings) -> Recipe:
        return Recipe(BrightnessTask(), Watching(settings), "toy")

    autocast = functools.partial(torch.autocast, "cpu", dtype=torch.bfloat16)  # as it is on a GPU
    monkeypatch.setattr(Precision, "running", lambda self: autocast())
    method = dataclasses.replace(toy_method(), build=build)
    finish(train_on(toy_scans(), tmp_path, method, settings_with(steps=1)))
    assert seen == {"forward": True, "backward": False}


def test_share_given_to_the_objective_rises_from_nought(tmp_path: Path) -> None:
    objectives: list[Any] = []
    method = toy_method()

    def build(settings: ToySettings) -> Any:
        recipe = method.build(settings)
        objectives.append(recipe.objective)
        return recipe

    finish(train_on(toy_scans(), tmp_path, dataclasses.replace(method, build=build), settings_with()))
    np.testing.assert_allclose(objectives[0].shares, np.arange(12) / 12)


def test_knn_is_measured_on_subjects_kept_aside(tmp_path: Path) -> None:
    scans = toy_scans(6, labels=True)
    finish(train_on(scans, tmp_path, toy_method(), settings_with(validation_share=0.34, monitor_every=6)))
    curves = read_curves(tmp_path / "log.csv")
    assert [s for s, values in curves.items() if "knn" in values] == [6, 12]
    card = load_bundle(tmp_path / "encoder.safetensors").card
    assert len(card["kept_aside"]) == 2


def test_a_clipped_step_is_as_long_as_the_limit(tmp_path: Path) -> None:
    optim = OptimSettings(
        name="sgd", learning_rate=1.0, schedule="constant", momentum=0.0, weight_decay=0.0, clip_norm=1e-3
    )
    first: list[torch.Tensor] = []
    recipes: list[Any] = []
    method = toy_method()

    def build(settings: ToySettings) -> Any:
        recipes.append(method.build(settings))
        first.extend(p.detach().clone() for p in recipes[0].objective.parameters())
        return recipes[0]

    finish(
        train_on(toy_scans(), tmp_path, dataclasses.replace(method, build=build), settings_with(steps=1, optim=optim))
    )
    moved = [(p.detach() - q).square().sum() for p, q in zip(recipes[0].objective.parameters(), first, strict=True)]
    assert float(torch.stack(moved).sum().sqrt()) == pytest.approx(1e-3, rel=1e-2)


def test_no_scan_at_all_is_not_blamed_on_labels(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no scan is left to learn from"):
        finish(pretrain([], tmp_path, "rotation"))
