"""Whole exams and the group each belongs to, from a table."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from napari_medssl.errors import FormatError
from napari_medssl.evaluate.data import spread
from napari_medssl.evaluate.examples import Examples
from napari_medssl.pretext.scan import Scan

_FILE, _SUBJECT = "file", "subject"


def exams(scans: Sequence[Scan], table: Path, *, column: str = "group", slices_per_scan: int = 32) -> Examples:
    """One example per scan: all its slices (at most `slices_per_scan`, at even distances) and its group.

    table: CSV with a column `file` (names as of the scans), `column` with the group, and perhaps `subject`, the person;
        without it the person is told from the file name. Scans the table does not name are left out.

    Raises FormatError when the table cannot be read, lacks a column, names no scan, puts one person into two groups,
    or has fewer than two groups with two people.
    """
    rows = _read(table, column)
    found = [(i, rows[scan.name]) for i, scan in enumerate(scans) if scan.name in rows]
    if not found:
        raise FormatError(f"{table} names none of the {len(scans)} scans; its column {_FILE!r} must hold file names")
    groups = np.array([row[column] for _, row in found])
    subjects = np.array([row.get(_SUBJECT) or scans[i].subject for i, row in found])
    labels = _check_groups(groups, subjects, table)
    return Examples(
        "exams",
        "one",
        labels,
        (groups[:, None] == np.array(labels)).astype(np.float32),
        subjects,
        groups,
        np.array([i for i, _ in found], np.intp),
        tuple(spread(slices_per_scan, len(scans[i].image)) for i, _ in found),
    )


def _read(table: Path, column: str) -> dict[str, dict[str, str]]:
    try:
        with table.open(newline="", encoding="utf-8-sig") as f:
            reader = csv.DictReader(f)
            rows = {str(row.get(_FILE)): row for row in reader if row.get(column)}
            names = reader.fieldnames or ()
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FormatError(f"cannot read the table {table} ({error}); it must be a CSV file") from error
    missing = [name for name in (_FILE, column) if name not in names]
    if missing:
        raise FormatError(f"{table} has no column {missing[0]!r}; it has: {', '.join(names) or 'none'}")
    return rows


def _check_groups(groups: np.ndarray, subjects: np.ndarray, table: Path) -> tuple[str, ...]:
    members = {g: set(subjects[groups == g]) for g in sorted(set(groups))}
    for subject in set(subjects):
        mine = [g for g, people in members.items() if subject in people]
        if len(mine) > 1:
            raise FormatError(f"{table} puts {subject} into the groups {' and '.join(mine)}; a person has one")
    if sum(len(people) > 1 for people in members.values()) < 2:
        counts = ", ".join(f"{g} {len(people)}" for g, people in members.items())
        raise FormatError(f"{table} needs two groups with two people or more among the scans; it has: {counts}")
    return tuple(str(g) for g in members)
