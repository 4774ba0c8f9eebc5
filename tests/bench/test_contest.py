"""Methods side by side: one budget, one table, baselines beside, nothing trained twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch

from napari_medssl.bench import contest as contest_module
from napari_medssl.bench.contest import ContestSettings, contest_steps, method_settings
from napari_medssl.cli import main
from napari_medssl.errors import FormatError, SettingsError
from napari_medssl.progress import finish
from napari_medssl.train.method import find_method

QUICK = ContestSettings(minutes=0.02, size=32, seeds=2, scratch_steps=2, encoder_options='{"width": 8}')


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six scans of bright balls at other heights, with their masks."""
    root = tmp_path_factory.mktemp("people")
    rng = np.random.default_rng(0)
    at = np.stack(np.meshgrid(np.arange(40), np.arange(40), np.arange(12), indexing="ij"))
    for folder in ("images", "labels"):
        (root / folder).mkdir()
    for i in range(6):
        mask = (((at - np.array([20, 20, 4 + i % 4])[:, None, None, None]) / [[[[9]]], [[[9]]], [[[3]]]]) ** 2).sum(
            0
        ) < 1
        image = rng.normal(60, 5, mask.shape) + 80 * mask
        for folder, data in (("images", image.astype(np.float32)), ("labels", mask.astype(np.uint8))):
            nib.save(nib.Nifti1Image(data, np.diag([2, 2, 4, 1.0])), root / folder / f"case_{i:02}.nii.gz")
    return root


def test_every_method_gets_the_same_budget_and_questions(
    people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def contest() -> list[Any]:
        steps = contest_steps(
            ["rotation", "simclr"], [people], people, tmp_path, QUICK, device=torch.device("cpu"), exclude=["case_05"]
        )
        return list(finish(steps))

    entries = contest()
    by_name = {e.name: e for e in entries}
    assert list(by_name)[:2] == ["rotation", "simclr"]
    baselines = [e for e in entries if e.family == "baseline"]
    assert sorted(b.name.split(", ")[1] for b in baselines) == ["first weights", "from scratch"]
    for entry in (by_name["rotation"], by_name["simclr"]):
        assert entry.steps > 0
        assert 0 <= entry.knn <= 1
        assert 0 <= entry.presence <= 1
        assert 0 <= entry.dice <= 1
    stored = json.loads((tmp_path / "contest.json").read_text())
    assert {e["name"] for e in stored["entries"]} == {e.name for e in entries}
    assert stored["asked"]["settings"]["minutes"] == QUICK.minutes

    monkeypatch.setattr(contest_module._Judge, "entry", None)  # calling it again would fail
    weights = (tmp_path / "simclr" / "encoder.safetensors").read_bytes()
    assert [e.presence for e in contest()] == [e.presence for e in entries]
    assert (tmp_path / "simclr" / "encoder.safetensors").read_bytes() == weights


def test_the_contest_sets_budget_input_and_encoder() -> None:
    made = method_settings(find_method("simclr"), QUICK)
    assert (made.run.max_minutes, made.size, made.encoder_options) == (0.02, 32, '{"width": 8}')
    assert made.run.optim == find_method("simclr").small.run.optim
    volume = method_settings(find_method("rot3d"), QUICK)
    assert volume.spacing_mm == QUICK.spacing_mm


def test_a_method_without_an_encoder_is_refused(people: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="propagation trains no encoder"):
        finish(contest_steps(["propagation"], [people], people, tmp_path, QUICK, device=torch.device("cpu")))


def test_the_command_says_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "simclr"]) == 2
    assert "--judge DIR" in capsys.readouterr().err


def test_what_cannot_be_judged_is_refused_before_training(people: Path, tmp_path: Path) -> None:
    steps = contest_steps(["rotation"], [people], people, tmp_path, QUICK, device=torch.device("cpu"), only=["nobody"])
    with pytest.raises(FormatError, match="no labelled scan called nobody"):
        finish(steps)
    assert not (tmp_path / "rotation").exists()
