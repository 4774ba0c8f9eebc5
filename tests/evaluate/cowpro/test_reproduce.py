"""Training by folds: nobody is asked who was trained on, and nothing is trained twice."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from napari_medssl.errors import FormatError, SettingsError
from napari_medssl.evaluate.cowpro import training
from napari_medssl.evaluate.cowpro.protocol import make_folds
from napari_medssl.evaluate.cowpro.run import Measured, reproduce_steps
from napari_medssl.evaluate.cowpro.settings import ReproductionSettings, preset
from napari_medssl.evaluate.cowpro.variants import all_variants, reference_variants
from napari_medssl.models.bundle import load_bundle
from napari_medssl.progress import finish
from napari_medssl.train.dataset import Case
from napari_medssl.train.trainer import pretrain


def reproduce(cases: list[Case], settings: ReproductionSettings, **more: Any) -> Measured:
    return finish(reproduce_steps(cases, settings, device=torch.device("cpu"), **more))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reproduction")


def test_each_fold_and_group_is_trained_once(
    cases: list[Case], tiny: ReproductionSettings, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def noted(part: Any, out: Path, method: str, settings: Any, **more: Any) -> Any:
        asked.append(({c.image.name for c in part}, settings.exclude_labels))
        return pretrain(part, out, method, settings, **more)

    monkeypatch.setattr(training, "pretrain", noted)
    first = reproduce(cases, tiny, out=folder)
    names = [{c.image.name for c in fold.train} for fold in make_folds(cases, 2)]
    assert asked == [(names[0], "1"), (names[0], "2"), (names[1], "1"), (names[1], "2")]

    for fold in first.folds:
        for organ in (1, 2):
            card = load_bundle(folder / f"fold_{fold.number}" / f"organs_{organ}.safetensors").card
            assert card["use"].startswith("benchmark only")
            seen = {name for scans in card["data"].values() for name in scans}
            assert seen == {c.image.name for c in fold.train}
            assert not seen & set(card["tested_on"])
            assert not (folder / f"fold_{fold.number}" / f"organs_{organ}" / "encoder.safetensors").exists()

    monkeypatch.setattr(training, "pretrain", None)  # calling it again would fail
    again = reproduce(cases, dataclasses.replace(tiny, resamples=20), out=folder)
    assert again.scores == first.scores
    assert again.weights == first.weights


def test_every_query_is_scored_by_weights_that_saw_neither_scan_of_the_pair(
    cases: list[Case], tiny: ReproductionSettings, folder: Path
) -> None:
    found = reproduce(cases, tiny, out=folder).scores
    assert {(s.fold, s.query, s.support) for s in found} == {
        (1, "p7.nii.gz", "p9.nii.gz"), (1, "p8.nii.gz", "p9.nii.gz"), (2, "p10.nii.gz", "p11.nii.gz")
    }  # fmt: skip
    for encoder, variants in (("trained", all_variants()), ("untrained", reference_variants())):
        mine = [s for s in found if s.encoder == encoder]
        assert len(mine) == 3 * 2 * len(variants)
        assert all(0 <= s.dice <= 1 for s in mine)


def test_other_settings_or_scans_are_not_mixed_into_a_folder(
    cases: list[Case], tiny: ReproductionSettings, folder: Path
) -> None:
    longer = dataclasses.replace(tiny.train, run=dataclasses.replace(tiny.train.run, steps=3))
    with pytest.raises(SettingsError, match=r"begun with train.run.steps 2 \(now 3\); use the same"):
        reproduce(cases, dataclasses.replace(tiny, train=longer), out=folder)
    with pytest.raises(SettingsError, match="begun with other scans"):
        reproduce(cases[:-1], tiny, out=folder)


def test_given_weights_are_scored_without_a_folder(cases: list[Case], tiny: ReproductionSettings) -> None:
    settings = dataclasses.replace(tiny, folds=1, organs="2 left organ", groups="2", supports="each")
    found = reproduce(cases[:2], settings, weights="none")
    assert [(s.support, s.query) for s in found.scores[:: len(all_variants())]] == [
        ("p10.nii.gz", "p11.nii.gz"), ("p11.nii.gz", "p10.nii.gz")
    ]  # fmt: skip
    assert len(found.scores) == 2 * len(all_variants())
    assert {s.encoder for s in found.scores} == {"given"}
    assert list(found.weights) == ["none"]


def test_baselines_can_be_trained_through_their_own_prototypes(
    cases: list[Case], tiny: ReproductionSettings, cpu: torch.device
) -> None:
    fold = make_folds(cases, 2)[0]
    made = training.trainings_of(fold, [(1,), (2,)], dataclasses.replace(tiny, heads="own", exclude="nothing"))
    assert [(t.name, t.settings.episodes.prototypes.method, t.settings.exclude_labels) for t in made] == [
        ("fold_1/organs_1_2", "cowpro", ""),
        ("fold_1/organs_1_2_alpnet", "alpnet", ""),
        ("fold_1/organs_1_2_panet", "panet", ""),
    ]
    assert [t.heads for t in made] == [("cowpro",), ("alpnet",), ("panet",)]


def test_what_cannot_be_measured_is_refused(cases: list[Case], tiny: ReproductionSettings, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="two folds or more"):
        reproduce(cases, dataclasses.replace(tiny, folds=1), out=tmp_path)
    nowhere = dataclasses.replace(tiny, folds=1, organs="8 gall bladder", groups="8")
    with pytest.raises(FormatError, match="setting organs"):
        reproduce(cases, nowhere, weights="none")
    unlabelled = [dataclasses.replace(c, labels=None) for c in cases]
    with pytest.raises(FormatError, match="no label map"):
        reproduce(unlabelled, tiny, weights="none")


def test_the_thesis_preset_has_the_published_sizes() -> None:
    train = preset("thesis").train
    assert (train.encoder, train.size, train.run.steps, train.run.batch) == ("resnet101-s8", 256, 100_000, 1)
    optim = train.run.optim
    assert (optim.name, optim.learning_rate, optim.schedule, optim.decay) == ("sgd", 1e-3, "exponential", 0.95)
    assert (train.run.epoch, optim.momentum, optim.weight_decay) == (1000, 0.9, 5e-4)
