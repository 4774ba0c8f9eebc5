"""Dividing exams into those that are learned from, those that are tuned on, and those that are reported."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_medssl.classify.exams.exam import ExamSet
from napari_medssl.errors import SettingsError
from napari_medssl.evaluate.splits import deal_subjects

IntArray = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Parts:
    """Numbers of exams. train: for the weights. tuning: for thresholds and the votes of planes. test: reported.

    Raises ValueError when somebody is in two of them.
    """

    train: IntArray
    tuning: IntArray
    test: IntArray
    people: npt.NDArray[np.str_]

    def __post_init__(self) -> None:
        sets = [set(self.people[p]) for p in (self.train, self.tuning, self.test)]
        both = (sets[0] & sets[1]) | (sets[0] & sets[2]) | (sets[1] & sets[2])
        if both:
            raise ValueError(f"{len(both)} people are on both sides of a split, such as {min(both)}")


def divide_exams(exams: ExamSet, *, tuning: float = 0.2, test: float = 0.2, seed: int = 0) -> Parts:
    """Parts by people, the shares of label combinations kept as far as they go.

    Exams that come divided stay so; where they come without a tuning part, people are taken for it out of the training
    part (thesis 3 reports on the part that its ensemble weights may come from; B3-39). tuning, test: shares of people.

    Raises SettingsError when the shares leave nobody to learn from.
    """
    people = exams.people
    given = np.array([e.part for e in exams.exams])
    groups = person_groups(exams)
    rng = np.random.default_rng([seed, 5])
    if given.any():
        train = np.flatnonzero((given == "train") | (given == ""))
        kept = np.flatnonzero(given == "tuning")
        if not len(kept):
            train, kept = _take(train, people, groups, tuning, rng)
        parts = Parts(train, kept, np.flatnonzero(given == "test"), people)
    else:
        rest, tested = _take(np.arange(len(people)), people, groups, test, rng)
        train, kept = _take(rest, people, groups, tuning / max(1 - test, 1e-9), rng)
        parts = Parts(train, kept, tested, people)
    if not len(parts.train):
        raise SettingsError(f"of {len(set(people))} people none is left to learn from; lower the shares kept aside")
    return parts


def person_groups(exams: ExamSet) -> npt.NDArray[np.str_]:
    """(N,) the label combination of each exam's person, the largest of those a person has: strata for splits."""
    targets = exams.targets.astype(int)
    best: dict[str, str] = {}
    for exam, row in zip(exams.exams, targets, strict=True):
        best[exam.person] = max(best.get(exam.person, ""), "".join(map(str, row)))
    return np.array([best[e.person] for e in exams.exams])


def _take(
    numbers: IntArray,
    people: npt.NDArray[np.str_],
    groups: npt.NDArray[np.str_],
    share: float,
    rng: np.random.Generator,
) -> tuple[IntArray, IntArray]:
    """(rest, taken): `share` of the people, rounded, of each group as many as it has of all."""
    taken: set[str] = set()
    mine, strata = people[numbers], groups[numbers]
    total = 0.0
    for group in np.unique(strata):
        dealt = deal_subjects(mine[strata == group], rng)
        total += share * len(dealt)
        # What rounding leaves over is made up for in the next group; one stays to learn from.
        count = min(max(0, round(total - len(taken))), len(dealt) - 1) if share < 1 else len(dealt)
        taken |= set(dealt[:count])
    aside = np.isin(mine, list(taken))
    return numbers[~aside], numbers[aside]
