"""Measures against scikit-learn, and what is refused to be measured."""

import numpy as np
import pytest
from sklearn import metrics as sk

from napari_medssl.metrics.classification import auc, binary_scores, calibration_error, class_scores
from napari_medssl.metrics.measure import Measure, mean_measure
from napari_medssl.metrics.regression import number_scores


@pytest.fixture
def binary():
    rng = np.random.default_rng(0)
    truth = (rng.random(200) < 0.3).astype(int)
    return truth, np.round(np.clip(0.3 * truth + 0.7 * rng.random(200), 0, 1), 2)  # rounded: with ties


@pytest.fixture
def several():
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 4, 150)
    logits = rng.normal(size=(150, 4)) + 1.5 * np.eye(4)[truth]
    return truth, np.exp(logits) / np.exp(logits).sum(1, keepdims=True)


def test_binary_scores_equal_scikit_learn(binary):
    truth, p = binary
    guess = p >= 0.5
    expected = {
        "accuracy": sk.accuracy_score(truth, guess),
        "balanced accuracy": sk.balanced_accuracy_score(truth, guess),
        "precision": sk.precision_score(truth, guess),
        "recall": sk.recall_score(truth, guess),
        "f1": sk.f1_score(truth, guess),
        "sensitivity": sk.recall_score(truth, guess),
        "specificity": sk.recall_score(truth, guess, pos_label=0),
        "auc": sk.roc_auc_score(truth, p),
        "brier": sk.brier_score_loss(truth, p),
    }
    found = binary_scores(truth, p)
    assert {k: found[k].value for k in expected} == pytest.approx(expected)
    assert set(found) - set(expected) == {"ece"}


def test_class_scores_equal_scikit_learn(several):
    truth, p = several
    guess = p.argmax(1)
    expected = {
        "accuracy": sk.accuracy_score(truth, guess),
        "balanced accuracy": sk.balanced_accuracy_score(truth, guess),
        "precision": sk.precision_score(truth, guess, average="macro"),
        "recall": sk.recall_score(truth, guess, average="macro"),
        "f1": sk.f1_score(truth, guess, average="macro"),
        "auc": sk.roc_auc_score(truth, p, multi_class="ovr"),
        "brier": np.mean([((p[i] - np.eye(4)[c]) ** 2).sum() for i, c in enumerate(truth)]),
        "specificity": np.mean([sk.recall_score(truth != c, guess != c) for c in range(4)]),
    }
    assert {k: v.value for k, v in class_scores(truth, p).items() if k in expected} == pytest.approx(expected)


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_has_no_auc(label):
    found = binary_scores(np.full(5, label), np.linspace(0, 1, 5))
    assert found["auc"].value is None
    assert "all 5 examples are " + ("positive" if label else "negative") in found["auc"].reason
    assert found["balanced accuracy"].value is None
    assert (found["sensitivity"].value is None) == (label == 0)
    assert (found["specificity"].value is None) == (label == 1)


def test_fold_without_one_of_the_classes():
    truth = np.array([0, 0, 1, 1])
    p = np.array([[0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.3, 0.2, 0.5]])
    found = class_scores(truth, p)
    assert found["auc"].value == 1.0 * 0.5 + 0.5 * 0.75
    assert "1 of 3 undefined" in found["auc"].reason
    assert found["recall"].value == 0.75
    assert class_scores(np.zeros(4, int), p)["auc"].value is None


def test_nothing_called_positive():
    found = binary_scores(np.array([0, 1]), np.array([0.1, 0.2]))
    assert found["precision"].value is None
    assert found["f1"].value == 0.0


def test_calibration_error():
    assert calibration_error(np.array([0.25] * 4), np.array([1, 0, 0, 0])) == 0.0
    assert calibration_error(np.array([1.0, 1.0, 0.0, 0.0]), np.array([1, 0, 0, 0])) == pytest.approx(0.25)
    p, y = np.random.default_rng(0).random(3000), np.random.default_rng(1).random(3000)
    bins = np.minimum((p * 15).astype(int), 14)
    correct = (y < p).astype(int)
    loop = sum((bins == b).mean() * abs(p[bins == b].mean() - correct[bins == b].mean()) for b in range(15))
    assert calibration_error(p, correct) == pytest.approx(loop)


def test_ties_count_half():
    assert auc(np.array([1, 0]), np.array([0.5, 0.5])).value == 0.5


def test_means_count_what_is_missing():
    assert mean_measure([Measure(1.0), Measure(0.0)]) == Measure(0.5)
    assert mean_measure([Measure(1.0), Measure(None, "why")]) == Measure(1.0, "1 of 2 undefined: why")
    assert mean_measure([]).value is None


def test_number_scores_equal_scikit_learn():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=40)
    guess = truth + rng.normal(size=40) * 0.3
    found = {k: v.value for k, v in number_scores(truth, guess).items()}
    mse = sk.mean_squared_error(truth, guess)
    assert found == pytest.approx(
        {"mae": sk.mean_absolute_error(truth, guess), "mse": mse, "rmse": mse**0.5, "r2": sk.r2_score(truth, guess)}
    )
    assert number_scores(np.ones(3), np.ones(3))["r2"].value is None


def test_empty_input_is_refused():
    with pytest.raises(ValueError, match="and some"):
        binary_scores(np.array([]), np.array([]))
    with pytest.raises(ValueError, match="and some"):
        number_scores(np.array([]), np.array([]))


def test_answers_of_several_thresholds_are_taken_as_given():
    truth, probability = np.array([0, 0, 1, 1]), np.array([0.2, 0.6, 0.4, 0.9])
    given = binary_scores(truth, probability, guess=np.array([0, 0, 1, 1]))
    assert given["accuracy"].value == given["f1"].value == 1.0
    assert given["auc"] == binary_scores(truth, probability)["auc"]
