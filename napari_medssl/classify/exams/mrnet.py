"""MRNet-style folders: slices of each plane in one array per exam, one table per label."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from napari_medssl.classify.exams.exam import Exam, ExamSet, check_exams
from napari_medssl.errors import FormatError

_PARTS = {"train": "train", "tune": "tuning", "tuning": "tuning", "valid": "test", "val": "test", "test": "test"}
_SHOWN = 5


def is_mrnet(root: Path) -> bool:
    """Whether a folder looks like one."""
    return any(True for _ in root.glob("*/*.npy")) or any(True for _ in root.glob("*/*/*.npy"))


def read_mrnet(root: Path, *, labels: Sequence[str] = ()) -> ExamSet:
    """The exams of `root/PART/PLANE/ID.npy` with labels in `root/PART-LABEL.csv`, or without any PART.

    PART: train, tuning (or tune), test; valid and val count as test, because results are reported on them (B3-56).
    Tables have lines `ID,0` or `ID,1`, with or without a head. labels: only these; all that have tables by default.
    Exams are taken to be of different people, as the tables do not say more. An exam may lack a plane. Numbers of exams
    and slices are those of the files.

    Raises FormatError when there is no table, a table names an exam twice or with something else than 0 or 1, and when
    an exam has no label or no array.
    """
    parts = {p.name: p for p in sorted(root.iterdir()) if p.is_dir() and p.name in _PARTS}
    homes = list(parts.items()) or [("", root)]
    names = _label_names(root, [part for part, _ in homes], labels)
    exams: list[Exam] = []
    bad: list[str] = []
    for part, folder in homes:
        tables = {name: _table(_table_path(root, part, name)) for name in names}
        planes = {p.name: {f.stem: f for f in sorted(p.glob("*.npy"))} for p in sorted(folder.iterdir()) if p.is_dir()}
        planes = {name: files for name, files in planes.items() if files}
        ids = sorted({n for t in tables.values() for n in t} | {n for files in planes.values() for n in files})
        for number in ids:
            missing = [name for name in names if number not in tables[name]]
            mine = {name: files[number] for name, files in planes.items() if number in files}
            if missing:
                bad.append(f"{number} has no label {missing[0]!r}")
            elif not mine:
                bad.append(f"{number} has labels but no array")
            else:
                values = tuple(tables[name][number] for name in names)
                exams.append(Exam(number, number, mine, values, _PARTS.get(part, "")))
    if bad:
        more = f"; and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
        raise FormatError(f"{root}: {'; '.join(bad[:_SHOWN])}{more}. Correct the tables or take these exams out")
    return check_exams(ExamSet("several", names, tuple(exams), _missing_planes(exams)))


def _label_names(root: Path, parts: Sequence[str], chosen: Sequence[str]) -> tuple[str, ...]:
    prefixes = [f"{part}-" if part else "" for part in parts]
    found = [{t.stem.removeprefix(p) for t in root.glob(f"{p}*.csv")} for p in prefixes]
    everywhere = sorted(set.intersection(*found))
    if not everywhere:
        raise FormatError(f"{root} has no table of labels such as {prefixes[0]}acl.csv with lines 0001,0")
    unknown = [name for name in chosen if name not in everywhere]
    if unknown:
        raise FormatError(f"{root} has no table of {unknown[0]!r}; it has: {', '.join(everywhere)}")
    return tuple(chosen or everywhere)


def _table_path(root: Path, part: str, name: str) -> Path:
    return root / f"{part}-{name}.csv" if part else root / f"{name}.csv"


def _table(path: Path) -> dict[str, float]:
    values: dict[str, float] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as f:
            rows = [row for row in csv.reader(f) if any(cell.strip() for cell in row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FormatError(f"cannot read the table {path} ({error}); it must be a CSV file") from error
    for n, row in enumerate(rows):
        name, value = (row[0].strip(), row[1].strip()) if len(row) > 1 else (row[0].strip(), "")
        if n == 0 and value.lower() not in ("0", "1", "0.0", "1.0", ""):
            continue  # a head
        if value not in ("0", "1", "0.0", "1.0"):
            raise FormatError(f"{path}, row {n + 1}: the label of {name} is {value!r}; it must be 0 or 1")
        if name in values:
            raise FormatError(f"{path}, row {n + 1}: {name} has a label already; keep one line for each exam")
        values[name] = float(value)
    return values


def _missing_planes(exams: Sequence[Exam]) -> tuple[str, ...]:
    planes = sorted({p for e in exams for p in e.planes})
    counts = {p: sum(p not in e.planes for e in exams) for p in planes}
    return tuple(f"{n} of {len(exams)} exams have no {plane} scan" for plane, n in counts.items() if n)
