"""From predictions to numbers: every measure of a task, and the one that is put in front."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_medssl.evaluate.examples import Examples, FloatArray, IntArray
from napari_medssl.metrics.classification import auc, binary_scores, class_scores
from napari_medssl.metrics.intervals import Interval, bootstrap_intervals
from napari_medssl.metrics.measure import Measure, mean_measure
from napari_medssl.metrics.regression import number_scores

Measures = dict[str, Measure]


@dataclass(frozen=True)
class Scored:
    """measures: name to value, means over labels. by_label: the same for each label, where labels are told apart."""

    measures: Measures
    by_label: dict[str, Measures]


def main_measure(examples: Examples) -> str:
    """The measure that is put in front: AUC, which no threshold and no prevalence changes, or the mean error."""
    return "mae" if examples.kind == "number" else "auc"


def score(examples: Examples, predictions: FloatArray) -> Scored:
    """Every measure of (N, L) predictions, each made by a model that did not see the example's person."""
    targets = examples.targets
    if examples.kind == "number":
        return Scored(number_scores(targets[:, 0], predictions[:, 0]), {})
    if examples.kind == "one":
        by_class = {
            label: {"auc": auc(targets[:, c].astype(int), predictions[:, c])} for c, label in enumerate(examples.labels)
        }
        return Scored(class_scores(targets.argmax(1), predictions), by_class)
    by_label = {label: binary_scores(targets[:, c], predictions[:, c]) for c, label in enumerate(examples.labels)}
    names = next(iter(by_label.values()))
    return Scored({n: mean_measure(found[n] for found in by_label.values()) for n in names}, by_label)


def main_value(examples: Examples, predictions: FloatArray, numbers: IntArray) -> float | None:
    """The main measure on the examples with these numbers, repetitions included."""
    targets, predicted = examples.targets[numbers], predictions[numbers]
    if examples.kind == "number":
        return float(np.abs(predicted - targets).mean())
    columns = range(targets.shape[1])
    return mean_measure(auc(targets[:, c].astype(int), predicted[:, c]) for c in columns).value


def patient_intervals(
    examples: Examples, predictions: list[FloatArray], *, resamples: int, rng: np.random.Generator
) -> list[Interval | None]:
    """90 % and 95 % intervals of the main measure over patients, its mean over the repeated runs' predictions."""

    def mean_value(numbers: IntArray) -> float | None:
        values = [v for p in predictions if (v := main_value(examples, p, numbers)) is not None]
        return float(np.mean(values)) if values else None

    strata = None if len(np.unique(examples.strata)) == 1 else examples.strata
    return bootstrap_intervals(mean_value, examples.subjects, strata=strata, resamples=resamples, rng=rng)
