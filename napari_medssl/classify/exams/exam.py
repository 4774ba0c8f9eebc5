"""Labelled exams on disk: which scans each consists of, whose it is, and what is known of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from napari_medssl.classify.table import LabelKind
from napari_medssl.errors import FormatError, SettingsError


@dataclass(frozen=True)
class Exam:
    """One visit of a person.

    planes: name of each plane (or other view: a phase, a sequence) to its file or DICOM folder; a plane may be missing.
    values: (L,) 0 or 1. part: "train", "tuning" or "test" when the data come divided, else "".
    """

    name: str
    person: str
    planes: dict[str, Path]
    values: tuple[float, ...]
    part: str = ""


@dataclass(frozen=True)
class ExamSet:
    """Exams of one data set.

    kind: "several" yes-or-no labels or "one" class of several. labels: their names. planes: all names in use, sorted;
    ("",) when exams are single scans. notes: what had to be left out, as sentences.
    """

    kind: LabelKind
    labels: tuple[str, ...]
    exams: tuple[Exam, ...]
    notes: tuple[str, ...] = ()

    @property
    def planes(self) -> tuple[str, ...]:
        """Names of the planes that some exam has."""
        return tuple(sorted({p for exam in self.exams for p in exam.planes}))

    @property
    def targets(self) -> npt.NDArray[np.float32]:
        """(N, L) 0 or 1."""
        return np.array([e.values for e in self.exams], np.float32).reshape(len(self.exams), len(self.labels))

    @property
    def people(self) -> npt.NDArray[np.str_]:
        """(N,) whose each exam is."""
        return np.array([e.person for e in self.exams])

    def only(self, numbers: Sequence[int] | npt.NDArray[np.intp]) -> ExamSet:
        """The exams with these numbers."""
        return replace(self, exams=tuple(self.exams[int(n)] for n in numbers))


def check_exams(exams: ExamSet) -> ExamSet:
    """The same set; raises FormatError when it holds nothing that can be learned from, or mixes people up.

    Refused: no exam, an exam without any plane, two exams of one name, a person in two parts, a label or class that
    all exams share.
    """
    if not exams.exams:
        raise FormatError("there is no exam; name at least one for each class")
    names = [e.name for e in exams.exams]
    if len(set(names)) < len(names):
        twice = next(n for n in names if names.count(n) > 1)
        raise FormatError(f"two exams are called {twice!r}; give each another name")
    empty = [e.name for e in exams.exams if not e.planes]
    if empty:
        raise FormatError(f"the exam {empty[0]} has no scan in any plane; take it out of the labels")
    parts: dict[str, str] = {}
    for exam in exams.exams:
        if parts.setdefault(exam.person, exam.part) != exam.part:
            raise FormatError(
                f"{exam.person} is both in {parts[exam.person]} and in {exam.part}; a person has one part"
            )
    check_labels(exams, "the exams")
    return exams


def check_labels(exams: ExamSet, where: str) -> None:
    """Raise SettingsError unless each label is both there and not there among `exams`, and each class is there."""
    targets = exams.targets
    if exams.kind == "one":
        absent = [n for n, c in zip(exams.labels, targets.sum(0) > 0, strict=True) if not c]
        if len(exams.labels) < 2:
            raise SettingsError(f"all of {where} are {exams.labels[0]!r}; there must be a second class to tell apart")
        if absent:
            raise SettingsError(
                f"none of {where} is {absent[0]!r}, so this class cannot be learned; add such exams, or take the "
                "class out of the labels"
            )
        return
    for name, column in zip(exams.labels, targets.T, strict=True):
        if column.all() or not column.any():
            side = "have" if column.all() else "lack"
            raise SettingsError(
                f"all of {where} {side} {name!r}, so it cannot be learned; add exams of the other kind, leave the "
                "label out, or divide them with another seed"
            )
