"""KneeMRI-style folders: pickled sagittal volumes and one table of diagnoses."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeAlias

from napari_medssl.classify.exams.exam import Exam, ExamSet, check_exams
from napari_medssl.errors import FormatError

Question: TypeAlias = Literal["ruptured", "ligament"]

_TABLE = "metadata.csv"
_EXAM, _DIAGNOSIS, _FILE = "examId", "aclDiagnosis", "volumeFilename"
_GRADES = ("healthy", "partially injured", "completely ruptured")

# Thesis, Table 3.2. Volumes in folders of other names come without a part.
_PARTS = {
    **dict.fromkeys(("vol03", "vol04", "vol06", "vol07", "vol08", "vol09"), "train"),
    **dict.fromkeys(("vol05", "vol10"), "tuning"),
    **dict.fromkeys(("vol01", "vol02"), "test"),
}


def is_kneemri(root: Path) -> bool:
    """Whether a folder looks like one."""
    return (root / _TABLE).is_file()


def read_kneemri(root: Path, *, question: Question = "ruptured") -> ExamSet:
    """The exams of `root/metadata.csv` with volumes `root/vol*/NAME.pck` (or beside the table).

    question: "ruptured", completely ruptured or not, as MRNet's authors and the thesis ask (3.5.1); "ligament", which
    of three conditions. Volumes of one examId are one person's. Parts are those of thesis Table 3.2 where the folders
    have their names, and none when that leaves no exam to learn from, as in a folder that holds some of them. How many
    there are is counted, never assumed: the thesis' numbers contradict each other (B3-49).

    Raises FormatError when the table cannot be read or lacks a column, and one that names the rows whose diagnosis is
    not 0, 1 or 2 or whose volume is missing.
    """
    if question not in ("ruptured", "ligament"):
        raise FormatError(f"KneeMRI has the labels 'ruptured' and 'ligament', not {question!r}")
    files = {f.name: f for f in sorted([*root.glob("*.pck"), *root.glob("*/*.pck")])}
    exams, bad = [], []
    for line, row in _rows(root / _TABLE):
        name, grade = row[_FILE].strip(), row[_DIAGNOSIS].strip()
        if grade not in ("0", "1", "2"):
            bad.append(f"line {line}: the diagnosis is {grade!r}, not 0, 1 or 2")
        elif name not in files:
            bad.append(f"line {line}: no volume {name!r}")
        else:
            file = files[name]
            values = (float(grade == "2"),) if question == "ruptured" else tuple(float(grade == g) for g in "012")
            part = _PARTS.get(file.parent.name, "")
            exams.append(Exam(file.stem, row[_EXAM].strip(), {"sagittal": file}, values, part))
    if bad:
        more = f"; and {len(bad) - 5} more" if len(bad) > 5 else ""
        raise FormatError(f"{root / _TABLE}: {'; '.join(bad[:5])}{more}. Correct these lines, or take them out")
    if not any(exam.part == "train" for exam in exams):
        exams = [replace(exam, part="") for exam in exams]
    if question == "ruptured":
        return check_exams(ExamSet("several", ("ruptured",), tuple(exams)))
    return check_exams(ExamSet("one", _GRADES, tuple(exams)))


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as f:
            reader = csv.DictReader(f, restval="")
            rows = [(reader.line_num, row) for row in reader]
            head = reader.fieldnames or ()
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FormatError(f"cannot read the table {path} ({error}); it must be a CSV file") from error
    missing = [name for name in (_EXAM, _DIAGNOSIS, _FILE) if name not in head]
    if missing:
        raise FormatError(f"{path} has no column {missing[0]!r}; it has: {', '.join(head) or 'none'}")
    return rows
