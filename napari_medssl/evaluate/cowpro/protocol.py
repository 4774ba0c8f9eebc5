"""Who is trained on, who is asked, and which scan shows the organs: the folds of the published evaluation."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from napari_medssl.errors import SettingsError
from napari_medssl.train.dataset import Case
from napari_medssl.train.store import subject_of

Supports: TypeAlias = Literal["last", "each"]


@dataclass(frozen=True)
class Fold:
    """number: from 1. train: scans to learn from. test: the others, by person; nobody is in both."""

    number: int
    train: tuple[Case, ...]
    test: tuple[Case, ...]


def make_folds(cases: Sequence[Case], count: int) -> list[Fold]:
    """The people in the order of their numbers, cut into `count` runs of equal length (as nearly as it goes).

    Contiguous, as in the authors' code. One fold tests everybody and leaves nobody to learn from, which is what weights
    that are given need. Raises SettingsError when a fold would hold a single person, who has nobody to be shown by.
    """
    people = sorted({person_of(c) for c in cases}, key=natural)
    if not 1 <= count <= len(people) // 2:
        most = len(people) // 2
        raise SettingsError(
            f"{count} folds of {len(people)} people leave a fold with fewer than two, of whom one shows the organs; "
            + (f"choose 1 to {most}" if most else "give scans of two people or more")
        )
    ordered = sorted(cases, key=lambda c: natural(c.image.name))
    folds = []
    for number, part in enumerate(np.array_split(np.arange(len(people)), count), 1):
        mine = {people[i] for i in part}
        train = tuple(c for c in ordered if person_of(c) not in mine)
        folds.append(Fold(number, train, tuple(c for c in ordered if person_of(c) in mine)))
    return folds


def pairs_of(fold: Fold, supports: Supports) -> list[tuple[Case, Case]]:
    """(support, query) of a fold: "last" lets its last scan show the organs (7.4.2.2), "each" every scan in turn.

    Nobody is shown by an own scan.
    """
    shown_by = fold.test[-1:] if supports == "last" else fold.test
    return [(s, q) for s in shown_by for q in fold.test if person_of(q) != person_of(s)]


def person_of(case: Case) -> str:
    """Whose scan it is."""
    return case.person or subject_of(case.image.name)


def natural(name: str) -> list[tuple[int, str]]:
    """A key that sorts scan 9 before scan 10 (B7-34).

    >>> sorted(["p10", "p9"], key=natural)
    ['p9', 'p10']
    """
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", name)]


def parse_organs(text: str) -> dict[int, str]:
    """Label values and names from "2 right kidney, 1 liver", in that order.

    Raises SettingsError for what cannot be read, and for a value or name that comes twice.
    """
    found: dict[int, str] = {}
    for part in text.split(","):
        value, _, name = part.strip().partition(" ")
        if not value.isdecimal() or int(value) < 1 or not name.strip():
            raise SettingsError(f"organs: {part.strip()!r} is no label and name; write for example '1 liver, 4 spleen'")
        if int(value) in found or name.strip() in found.values():
            raise SettingsError(f"organs: {part.strip()!r} names a label or an organ a second time")
        found[int(value)] = name.strip()
    return found


def parse_groups(text: str, organs: Sequence[int]) -> list[tuple[int, ...]]:
    """Organs that are trained for together, from "2 3 | 1 4"; each organ is in one group.

    Raises SettingsError when one is left out, comes twice or is none of `organs`.
    """
    groups = [tuple(int(w) for w in part.split() if w.isdecimal()) for part in text.split("|")]
    flat = [value for group in groups for value in group]
    if sorted(flat) != sorted(organs) or not all(groups):
        known = " ".join(map(str, organs))
        raise SettingsError(f"groups: {text!r} must hold each of the labels {known} once, such as '2 3 | 1 4'")
    return groups
