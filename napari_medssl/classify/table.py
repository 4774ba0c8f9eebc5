"""Tables of labels: which file, slice or exam has which label, and whose it is."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_medssl.errors import FormatError

LabelKind: TypeAlias = Literal["several", "one"]
"""Several labels, each yes or no; or one class out of some."""

_YES, _NO = ("1", "1.0", "yes", "true"), ("0", "0.0", "no", "false")
_PEOPLE = ("subject", "person", "patient")
_SHOWN = 5  # bad rows that are named one by one; of the others there is a count


@dataclass(frozen=True)
class LabelRow:
    """One row of a table.

    line: in the file, counted from 1. file: the scan it names. exam: which exam the scan belongs to. plane: which of
    its series it is, "" when there is only one. slice: Z index, counted from 0, or None for the whole scan.
    person: whose it is, "" when the table does not say. values: (L,) 0 or 1 for each label.
    """

    line: int
    file: Path
    exam: str
    plane: str
    slice: int | None
    person: str
    values: tuple[float, ...]


@dataclass(frozen=True)
class LabelTable:
    """Rows with their labels. kind: "several" yes-or-no labels, or classes of which each row has "one"."""

    path: Path
    kind: LabelKind
    labels: tuple[str, ...]
    rows: tuple[LabelRow, ...]

    @property
    def targets(self) -> npt.NDArray[np.float32]:
        """(N, L) 0 or 1."""
        return np.array([row.values for row in self.rows], np.float32).reshape(len(self.rows), len(self.labels))


def read_label_table(
    path: Path,
    *,
    images: Path | None = None,
    labels: Sequence[str] = (),
    exam: str = "exam",
    plane: str = "plane",
    stem_of: Callable[[str], str] | None = None,
) -> LabelTable:
    """A CSV (or, by its ending, tab-separated) file with a head.

    Columns: `file`, relative to `images` or else to the table; perhaps `exam` and `plane` (columns of other names are
    chosen with these arguments), `slice`, and `subject`, `person` or `patient`. Without an exam column every file is an
    exam of its own, named by its file name.
    labels: columns with labels. Without them: all other columns if there is one, or else those that hold 0 and 1 alone.
        One column of words is a class each; otherwise every label is yes or no (1/0, yes/no, true/false).
    stem_of: what an exam is called after the name of its file; the name without its endings by default.

    Raises FormatError when the file cannot be read or lacks a column, and one that names every bad row by its line:
    no label, a label that is neither yes nor no, a file that is not there, a slice that is no number, a row twice, a
    person in two exams' rows under two names or an exam whose rows contradict each other.
    """
    head, lines = _lines(path)
    if "file" not in head:
        raise FormatError(f"{path} has no column 'file'; it has: {', '.join(head) or 'none'}")
    for wanted, default in ((exam, "exam"), (plane, "plane")):
        if wanted != default and wanted not in head:
            raise FormatError(f"{path} has no column {wanted!r}; it has: {', '.join(head)}")
    person = next((name for name in _PEOPLE if name in head), "")
    known = {"file", "slice", exam, plane, *_PEOPLE} - set(labels)
    columns = _label_columns(path, [c for c in head if c not in known], lines, labels)
    kind, names, value_of = _meaning(columns, lines)
    folder = images if images is not None else path.parent
    bad: list[str] = []
    rows = []
    for number, line in lines:
        try:
            file = _file(folder, line["file"])
            name = line.get(exam, "") or (stem_of or _stem)(file.name)
            place = _slice(line.get("slice", ""))
            values = value_of(line)
        except ValueError as error:
            bad.append(f"line {number}: {error}")
            continue
        rows.append(LabelRow(number, file, name, line.get(plane, ""), place, line.get(person, ""), values))
    bad += _contradictions(rows, person=bool(person))
    _refuse(path, bad, len(lines))
    return LabelTable(path, kind, names, tuple(rows))


def _lines(path: Path) -> tuple[tuple[str, ...], list[tuple[int, dict[str, str]]]]:
    """The head, and every line that is not empty with its number; cells without blanks around them."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as f:
            reader = csv.DictReader(f, delimiter="\t" if path.suffix == ".tsv" else ",", restval="")
            head = tuple(name.strip() for name in reader.fieldnames or ())
            found = []
            for row in reader:
                cells = {str(k).strip(): (v or "").strip() for k, v in row.items() if k is not None}
                if any(cells.values()):
                    found.append((reader.line_num, cells))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FormatError(f"cannot read the table {path} ({error}); it must be a CSV file in UTF-8") from error
    if not found:
        raise FormatError(f"the table {path} has no rows; give each scan a line under a head such as file,label")
    twice = [name for name, count in Counter(head).items() if count > 1]
    if twice:
        raise FormatError(f"{path} has two columns called {twice[0]!r}; rename one")
    return head, found


def _label_columns(
    path: Path, others: list[str], lines: list[tuple[int, dict[str, str]]], chosen: Sequence[str]
) -> list[str]:
    missing = [c for c in chosen if c not in lines[0][1]]
    if missing:
        raise FormatError(f"{path} has no column {missing[0]!r}; it has: {', '.join(lines[0][1])}")
    if chosen:
        return list(chosen)
    if len(others) <= 1:
        if not others:
            raise FormatError(f"{path} has no column with labels beside the names of files")
        return others
    binary = [c for c in others if all(line[c].lower() in (*_YES, *_NO, "") for _, line in lines)]
    if not binary:
        raise FormatError(f"which column of {path} holds the labels: {', '.join(others)}? Name it with --label")
    return binary


def _meaning(
    columns: list[str], lines: list[tuple[int, dict[str, str]]]
) -> tuple[LabelKind, tuple[str, ...], Callable[[Mapping[str, str]], tuple[float, ...]]]:
    """How the label cells are to be read: kind, names of the labels, and a row's values."""
    words = {line[columns[0]] for _, line in lines} - {""}
    if len(columns) == 1 and any(w.lower() not in (*_YES, *_NO) for w in words):
        classes = tuple(sorted(words))
        return "one", classes, lambda line: _one_hot(columns[0], line[columns[0]], classes)
    return "several", tuple(columns), lambda line: tuple(_yes_or_no(c, line[c]) for c in columns)


def _one_hot(column: str, text: str, classes: tuple[str, ...]) -> tuple[float, ...]:
    if not text:
        raise ValueError(f"no {column}")
    return tuple(float(text == c) for c in classes)


def _yes_or_no(column: str, text: str) -> float:
    if not text:
        raise ValueError(f"no {column}")
    if text.lower() not in (*_YES, *_NO):
        raise ValueError(f"{column} is {text!r}, neither 0 nor 1")
    return float(text.lower() in _YES)


def _file(folder: Path, text: str) -> Path:
    if not text:
        raise ValueError("no file")
    path = folder / text
    if not path.exists():
        raise ValueError(f"{path} is not there")
    return path


def _slice(text: str) -> int | None:
    if not text:
        return None
    if not text.isdecimal():
        raise ValueError(f"slice {text!r} is no whole number from 0")
    return int(text)


def _stem(name: str) -> str:
    from napari_medssl.io.formats import stem_of

    return stem_of(Path(name))


def _contradictions(rows: Sequence[LabelRow], *, person: bool) -> list[str]:
    """Sentences on rows that cannot all be true."""
    bad = []
    first: dict[Any, LabelRow] = {}
    for row in rows:
        key = (row.file, row.slice)
        if key in first:
            bad.append(f"line {row.line}: {row.file.name} stands on line {first[key].line} already")
        first.setdefault(key, row)
        if row.slice is not None:
            continue
        place = (row.exam, row.plane)
        before = first.setdefault(place, row)
        if before is not row and before.file != row.file:
            where = f"the plane {row.plane!r} of " if row.plane else ""
            bad.append(f"line {row.line}: {where}the exam {row.exam} stands on line {before.line} already")
        other = first.setdefault(row.exam, row)
        if other.values != row.values:
            bad.append(f"line {row.line}: the exam {row.exam} has other labels on line {other.line}")
        if person and other.person != row.person:
            bad.append(
                f"line {row.line}: the exam {row.exam} is of {row.person}, on line {other.line} of {other.person}"
            )
    if person:
        bad += [f"line {row.line}: no person" for row in rows if not row.person]
    return bad


def _refuse(path: Path, bad: list[str], count: int) -> None:
    if not bad:
        return
    more = f"; and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
    raise FormatError(
        f"{len(bad)} of the {count} rows of {path} cannot be used: {'; '.join(bad[:_SHOWN])}{more}. "
        "Correct these lines, or take them out"
    )
