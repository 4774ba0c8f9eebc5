"""Calibration finds what was distorted, survives a file, and refuses the people it was fitted on."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.special import expit, logit, softmax

from napari_medssl.classify.calibrate import calibrator_from, fit_calibrator
from napari_medssl.errors import FormatError, SettingsError
from napari_medssl.metrics.classification import auc, calibration_error

LABELS = ("tear", "oedema")


def distorted(n: int = 4000, *, factor: float = 3.0):
    """Honest probabilities (n, 2), overconfident ones made from them, and what happened."""
    rng = np.random.default_rng(0)
    honest = expit(rng.normal(0, 1.2, (n, 2)))
    truth = (rng.random((n, 2)) < honest).astype(float)
    return honest, expit(factor * logit(honest)), truth


def fit(p, t, method="temperature", kind="several", labels=LABELS, people=None):
    return fit_calibrator(
        p, t, method=method, kind=kind, labels=labels, people=range(len(p)) if people is None else people
    )


@pytest.mark.parametrize("method", ["temperature", "isotonic"])
def test_overconfidence_is_taken_back(method):
    honest, sure, truth = distorted()
    found = fit(sure[:3000], truth[:3000], method)
    after = found(sure[3000:])
    for c in range(2):
        before = calibration_error(sure[3000:, c], truth[3000:, c])
        assert calibration_error(after[:, c], truth[3000:, c]) < before / 2
    assert np.abs(after - honest[3000:]).mean() < 0.05
    if method == "temperature":
        np.testing.assert_allclose(found.temperatures, 3.0, rtol=0.1)
        assert auc(truth[3000:, 0], after[:, 0]) == auc(truth[3000:, 0], sure[3000:, 0]), "order stays"


def test_one_class_of_several_has_one_temperature_and_sums_to_one():
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 1.5, (3000, 3))
    truth = np.array([rng.multinomial(1, row) for row in softmax(logits, 1)], float)
    sure = softmax(2.5 * logits, 1)
    found = fit(sure, truth, kind="one", labels=("a", "b", "c"))
    assert len(set(found.temperatures)) == 1
    assert found.temperatures[0] == pytest.approx(2.5, rel=0.1)
    np.testing.assert_allclose(found(sure), softmax(logits * 2.5 / found.temperatures[0], 1), atol=1e-4)
    stepped = fit(sure, truth, "isotonic", kind="one", labels=("a", "b", "c"))(sure)
    np.testing.assert_allclose(stepped.sum(1), 1)


@pytest.mark.parametrize("method", ["none", "temperature", "isotonic"])
def test_a_calibrator_comes_back_from_json_as_it_was(method):
    _, sure, truth = distorted(300)
    found = fit(sure, truth, method)
    again = calibrator_from(json.loads(json.dumps(found.state())))
    assert again == found
    np.testing.assert_array_equal(again(sure), found(sure))


def test_people_it_was_fitted_on_are_refused_and_not_named_in_the_file():
    _, sure, truth = distorted(4)
    found = fit(sure, truth, people=["anna", "anna", "ben", "cleo"])
    found.check_apart(["dora", "emil"])
    with pytest.raises(SettingsError, match=r"fitted on 2 of the people .* \(ben, cleo\)"):
        found.check_apart(["dora", "cleo", "ben"])
    assert "anna" not in json.dumps(found.state())
    assert len(found.people) == 3


def test_what_cannot_be_fitted_stays_as_it_is_with_a_note():
    p = np.array([[0.2, 0.7], [0.4, 0.9], [0.3, 0.6]])
    t = np.array([[0, 1], [0, 0], [0, np.nan]])
    for method in ("temperature", "isotonic"):
        found = fit(p, t, method)
        np.testing.assert_allclose(found(p)[:, 0], p[:, 0], atol=1e-9)
        assert "tear: all tuning examples are negative" in found.notes[0]
    assert "isotonic calibration wants 50" in found.notes[1]
    one = fit(p, np.array([[1, 0]] * 3), kind="one")
    assert one.temperatures == (1, 1)


def test_separable_examples_give_finite_probabilities():
    p, t = np.array([[0.1], [0.9]] * 5), np.array([[0.0], [1.0]] * 5)
    found = fit(p, t, labels=("tear",))
    assert found.temperatures[0] == pytest.approx(logit(0.9) / logit(6 / 7), rel=0.01)
    assert np.isfinite(found(np.array([[0.0], [1.0]]))).all()


def test_mistakes_are_named():
    _, sure, truth = distorted(10)
    found = fit(sure, truth)
    with pytest.raises(SettingsError, match="3 probabilities were given"):
        found(np.zeros((2, 3)))
    with pytest.raises(SettingsError, match="tuning examples"):
        fit(sure[:0], truth[:0])
    state = found.state()
    for wrong in ({**state, "format": 9}, {**state, "temperatures": [1.0]}, {"format": 1}, {**state, "kind": "x"}):
        with pytest.raises(FormatError, match=r"calibration (has format 9|is damaged)"):
            calibrator_from(wrong)


@pytest.mark.parametrize("kind", ["several", "one"])
def test_a_handful_of_examples_makes_nothing_certain(kind):
    """Four that are told apart without a fault: their temperature alone would go to its limit."""
    p = np.array([[0.45, 0.55], [0.4, 0.6], [0.6, 0.4], [0.65, 0.35]])
    found = fit(p, (p > 0.5).astype(float), kind=kind)(p)
    assert 0.55 < found.max() < 0.95
    assert 0.05 < found.min() < 0.45
