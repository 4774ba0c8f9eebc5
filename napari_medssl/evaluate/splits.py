"""Folds and few labels, by people: nobody is on both sides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_medssl.errors import SettingsError

IntArray = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Fold:
    """Numbers of examples to learn from and to be tested on. Raises ValueError when somebody is in both."""

    train: IntArray
    test: IntArray
    subjects: npt.NDArray[Any]

    def __post_init__(self) -> None:
        both = set(self.subjects[self.train]) & set(self.subjects[self.test])
        if both:
            raise ValueError(f"{len(both)} people are on both sides of a split, such as {min(both)}")


def subject_folds(
    subjects: npt.NDArray[Any], count: int, rng: np.random.Generator, *, strata: npt.NDArray[Any] | None = None
) -> list[Fold]:
    """`count` folds; every example is tested once, by models that saw no other example of the same person.

    subjects: (N,) person of each example. strata: (N,) group of that person, spread evenly over the folds.

    Raises SettingsError for fewer than two folds or more folds than people.
    """
    people = deal_subjects(subjects, rng, strata=strata)
    if not 2 <= count <= len(people):
        raise SettingsError(f"{count} folds of {len(people)} people; choose 2 to {len(people)} (at least two people)")
    if strata is not None:
        # Group after group: dealt in turn, with as many folds as groups each fold would get a group of its own.
        group = dict(zip(subjects.tolist(), strata.tolist(), strict=True))
        people = sorted(people, key=lambda person: str(group[person]))
    fold_of = {person: n % count for n, person in enumerate(people)}
    number = np.array([fold_of[s] for s in subjects])
    return [Fold(np.flatnonzero(number != f), np.flatnonzero(number == f), subjects) for f in range(count)]


def deal_subjects(
    subjects: npt.NDArray[Any], rng: np.random.Generator, *, strata: npt.NDArray[Any] | None = None
) -> list[Any]:
    """The people in random order, one of each group in turn."""
    names, first = np.unique(subjects, return_index=True)
    kind = np.zeros(len(names), int) if strata is None else np.unique(strata, return_inverse=True)[1][first]
    groups = [rng.permutation(names[kind == k]).tolist() for k in rng.permutation(np.unique(kind))]
    longest = max(map(len, groups))
    return [g[n] for n in range(longest) for g in groups if n < len(g)]


def labelled_share(
    train: IntArray,
    subjects: npt.NDArray[Any],
    share: float,
    *,
    rng: np.random.Generator,
    strata: npt.NDArray[Any] | None = None,
) -> IntArray:
    """The examples of `train` that keep their label when only a share of them has one.

    Labels are made person by person, so as few people as can hold them have them: a tenth of the slices are about those
    of a tenth of the people, not a tenth of everybody's, which would show every person. At least one example of each
    group of `strata` stays. The same generator state gives sets that lie in those of larger shares. Ours: documents say
    only "1 %" and so on.

    Raises SettingsError unless 0 < share <= 1.
    """
    if not 0 < share <= 1:
        raise SettingsError(f"a share of labels is {share:g}; it must be above 0 and at most 1")
    groups = None if strata is None else strata[train]
    least = 1 if groups is None else len(np.unique(groups))
    people = deal_subjects(subjects[train], rng, strata=groups)
    shuffled = rng.permutation(train)
    mine = {person: shuffled[subjects[shuffled] == person].tolist() for person in people}
    shown = [mine[person].pop() for person in people[:least]]  # dealt in turn: one of each group
    order = shown + [n for person in people for n in mine[person]]
    return np.sort(np.array(order[: max(round(share * len(train)), least)], np.intp))
