"""How good a classifier's answers are: every measure with its interval over patients."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_medssl.classify.table import LabelKind
from napari_medssl.metrics.classification import binary_scores, class_scores
from napari_medssl.metrics.intervals import Interval, bootstrap_table
from napari_medssl.metrics.measure import Measure, mean_measure

Array = npt.NDArray[Any]

MEASURES = ("auc", "accuracy", "sensitivity", "specificity", "f1", "balanced accuracy", "brier", "ece")
"""Those that are reported, in their order."""

LEVEL = 0.95

_LEAST = 5  # ours: people of a group from which on it is drawn from by itself
MEAN = "mean"
"""The row of the mean over labels (of several classes: of all classes together)."""


@dataclass(frozen=True)
class Judged:
    """One number: value (None with a reason where it is not defined) and its 95 % interval over patients."""

    measure: Measure
    interval: Interval | None


@dataclass(frozen=True)
class Judgement:
    """Of each label, and of `MEAN`, the measures. exams, people: how many were judged."""

    by_label: dict[str, dict[str, Judged]]
    exams: int
    people: int


def judge(
    targets: Array,
    probability: Array,
    answers: Array,
    *,
    kind: LabelKind,
    labels: tuple[str, ...],
    people: Array,
    resamples: int = 1000,
    seed: int = 0,
) -> Judgement:
    """Every measure of (N, L) probabilities and answers against (N, L) targets.

    Intervals are percentiles 2.5 and 97.5 of a bootstrap over people, all exams of a person together; groups of people
    with the same labels keep their size, when a person has one of them and every group has five people or more (drawn
    from one or two, always the same would come, and the interval would be too short). A class of several is judged
    against the rest for AUC, sensitivity and specificity; their `MEAN` is that of `metrics.class_scores`.
    """

    def measured(numbers: Array) -> dict[str, dict[str, Measure]]:
        return _measures(targets[numbers], probability[numbers], answers[numbers], kind, labels)

    def flat(numbers: Array) -> Mapping[str, float | None]:
        return {f"{label}\0{m}": v.value for label, row in measured(numbers).items() for m, v in row.items()}

    everything = np.arange(len(targets))
    table = bootstrap_table(
        flat, people, strata=_strata(targets, people), resamples=resamples, levels=(LEVEL,),
        rng=np.random.default_rng([seed, 41]),
    )  # fmt: skip
    by_label = {
        label: {m: Judged(v, table.get(f"{label}\0{m}", [None])[0]) for m, v in row.items()}
        for label, row in measured(everything).items()
    }
    return Judgement(by_label, len(targets), len(np.unique(people)))


def _measures(
    targets: Array, probability: Array, answers: Array, kind: LabelKind, labels: tuple[str, ...]
) -> dict[str, dict[str, Measure]]:
    columns = enumerate(labels)
    found = {name: binary_scores(targets[:, c], probability[:, c], guess=answers[:, c]) for c, name in columns}
    rows = {name: {m: row[m] for m in MEASURES} for name, row in found.items()}
    if kind == "one":
        together = class_scores(targets.argmax(1), probability)
        rows[MEAN] = {m: together[m] for m in MEASURES}
    elif len(labels) > 1:
        rows[MEAN] = {m: mean_measure(row[m] for row in rows.values()) for m in MEASURES}
    return rows


def _strata(targets: Array, people: Array) -> Array | None:
    """The label combination of each exam, when all exams of a person have the same and none is rare; else None."""
    combination = np.array(["".join(map(str, row)) for row in targets.astype(int)])
    pairs = set(zip(people.tolist(), combination.tolist(), strict=True))
    counts = Counter(group for _, group in pairs)
    return combination if len(pairs) == len(np.unique(people)) and min(counts.values()) >= _LEAST else None


def headline(judgement: Judgement) -> Judged:
    """The AUC that is put in front: the mean over labels, or that of the only one."""
    rows = judgement.by_label
    return rows[MEAN if MEAN in rows else next(iter(rows))]["auc"]
