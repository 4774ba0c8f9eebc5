"""The comparison: rows, baselines, leaks, and numbers that are what they are called."""

from dataclasses import replace

import numpy as np
import pytest

from napari_medssl.errors import SettingsError
from napari_medssl.evaluate.compare import CompareSettings, compare_steps
from napari_medssl.evaluate.fit import FitSettings
from napari_medssl.evaluate.presence import position, presence
from napari_medssl.evaluate.scoring import main_value, patient_intervals, score
from napari_medssl.metrics.classification import binary_scores
from napari_medssl.progress import finish

QUICK = CompareSettings(seeds=2, neighbours=(5, 1), resamples=20, scratch=False, fit=FitSettings(steps=2, batch=4))


def run(candidate, scans, policy, examples, protocols, settings):
    return finish(compare_steps([candidate], scans, examples, protocols, settings, policy=policy, data="toy"))


def test_rows_and_baselines(candidate, scans, policy):
    settings = replace(QUICK, folds=2, scratch=True, shares=(0.2, 1.0))
    rows = run(candidate, scans, policy, presence(scans, slices_per_scan=5), ["knn", "probe", "finetune"], settings)
    assert [(r.weights, r.protocol) for r in rows[::2]] == [
        ("toy", "knn 5"),
        ("toy", "knn 1"),
        ("toy", "probe"),
        ("toy", "finetune full"),
        ("slice-resnet, first weights", "knn 5"),
        ("slice-resnet, first weights", "knn 1"),
        ("slice-resnet, first weights", "probe"),
        ("slice-resnet, from scratch", "supervised"),
    ]
    few, all_of_them = rows[:2]
    assert (few.share, few.labelled, few.people) == (0.2, 3, 1)
    assert (all_of_them.share, all_of_them.labelled, all_of_them.people) == (1.0, 15, 3)
    assert rows[5].value > 0.9  # bright blocks are easy
    assert rows[5].over_seeds.label == "95 % over seeds"
    assert [i.level for i in rows[5].over_patients] == [0.9, 0.95]
    assert set(rows[5].by_label) == {"1", "2"}


def test_the_same_architecture_has_its_baselines_once(candidate, scans, policy):
    other = replace(candidate, name="twin")
    examples = presence(scans, slices_per_scan=4)
    rows = finish(compare_steps([candidate, other], scans, examples, ["probe"], QUICK, policy=policy))
    assert [r.weights for r in rows] == ["toy", "slice-resnet, first weights", "twin"]
    assert rows[0].measures == rows[2].measures


def test_nobody_is_tested_by_a_model_that_saw_him(candidate, scans, policy):
    """Labels that only mark the person are learned by heart by neighbours, unless splits are by people."""
    examples = presence(scans, slices_per_scan=8)
    person = np.array([int(s[1:]) % 2 for s in examples.subjects], np.float32)
    marked = replace(examples, targets=np.stack([person, 1 - person], 1))
    rows = run(candidate, scans, policy, marked, ["knn"], replace(QUICK, first_weights=False, neighbours=(1,)))
    assert rows[0].value < 0.8


def test_numbers_are_scored_by_their_error(candidate, scans, policy):
    rows = run(candidate, scans, policy, position(scans, slices_per_scan=6), ["knn", "probe"], QUICK)
    assert {r.main for r in rows} == {"mae"}
    assert all(0 <= r.value < 0.5 for r in rows)
    assert rows[0].by_label == {}


def test_rare_classes(candidate, scans, policy):
    examples = presence(scans, slices_per_scan=6)
    settings = replace(QUICK, ratio=0.1, first_weights=False, neighbours=(3,))
    (rare,) = run(candidate, scans, policy, examples, ["knn"], settings)
    again = replace(settings, fit=replace(settings.fit, balance="resample"))
    (resampled,) = run(candidate, scans, policy, examples, ["knn"], again)
    assert rare.measures["balanced accuracy"].value <= resampled.measures["balanced accuracy"].value


@pytest.mark.parametrize(
    ("task", "protocols", "change", "message"),
    [
        (position, ["knn"], {"ratio": 0.1}, "no rare classes"),
        (presence, ["finetune"], {"ratio": 0.1}, "several labels at once"),
        (presence, ["knn"], {"fit": FitSettings(balance="weights")}, "no loss to weigh"),
        (presence, ["knn"], {"folds": 7}, "7 folds of 6 people"),
    ],
)
def test_settings_that_do_not_fit_are_explained(candidate, scans, policy, task, protocols, change, message):
    with pytest.raises(SettingsError, match=message):
        run(candidate, scans, policy, task(scans), protocols, replace(QUICK, **change))


def test_scores_are_means_over_labels(scans):
    examples = presence(scans)
    told = np.random.default_rng(0).random(examples.targets.shape).astype(np.float32)
    found = score(examples, told)
    each = [binary_scores(examples.targets[:, c], told[:, c])["f1"].value for c in range(2)]
    assert found.measures["f1"].value == pytest.approx(np.mean(each))
    everything = np.arange(len(examples))
    assert main_value(examples, told, everything) == pytest.approx(found.measures["auc"].value)
    ninety, ninety_five = patient_intervals(examples, [told, told], resamples=50, rng=np.random.default_rng(0))
    assert ninety_five.low <= ninety.low <= found.measures["auc"].value <= ninety.high <= ninety_five.high


def test_no_resamples_no_interval(scans):
    examples = presence(scans)
    assert patient_intervals(examples, [examples.targets], resamples=0, rng=np.random.default_rng(0)) == [None, None]
