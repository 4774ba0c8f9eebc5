"""Labelled exams from a table or a folder of a known layout."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from napari_medssl.classify.exams.exam import Exam, ExamSet, check_exams
from napari_medssl.classify.exams.kneemri import is_kneemri, read_kneemri
from napari_medssl.classify.exams.mrnet import is_mrnet, read_mrnet
from napari_medssl.classify.exams.planes import exam_name
from napari_medssl.classify.table import LabelRow, LabelTable, read_label_table
from napari_medssl.errors import FormatError
from napari_medssl.train.store import subject_of


def open_exams(
    labels: Path, *, images: Path | None = None, columns: Sequence[str] = (), exam: str = "exam", plane: str = "plane"
) -> ExamSet:
    """The exams of a table (`classify.table`) or of an MRNet- or KneeMRI-style folder.

    columns: labels to learn; see the readers for what happens without. exam, plane: columns of the table that join
    several scans to one exam: `plane` names its planes, or any other views it has one scan of, such as phases.

    Raises FormatError as the readers.
    """
    if not labels.is_dir():
        return exams_of(read_label_table(labels, images=images, labels=columns, exam=exam, plane=plane))
    if is_kneemri(labels):
        if len(columns) > 1:
            raise FormatError("KneeMRI has one label at a time: 'ruptured' or 'ligament'")
        return read_kneemri(labels, question=columns[0] if columns else "ruptured")  # type: ignore[arg-type]
    if is_mrnet(labels):
        return read_mrnet(labels, labels=columns)
    raise FormatError(
        f"{labels} is neither an MRNet-style folder (PART/PLANE/ID.npy, PART-LABEL.csv) nor a KneeMRI-style one "
        "(metadata.csv, vol*/*.pck); give a table with the columns file and label instead"
    )


def exams_of(table: LabelTable) -> ExamSet:
    """The exams of a table's rows.

    The person is the table's, or told from the exam's name (`sub-01`, words after a number left out).

    Raises FormatError when rows are about slices instead of scans, or nothing can be learned from them.
    """
    sliced = next((row for row in table.rows if row.slice is not None), None)
    if sliced is not None:
        raise FormatError(f"{table.path}, line {sliced.line}: labels of slices; exams are labelled as a whole")
    planes: dict[str, dict[str, Path]] = {}
    first: dict[str, LabelRow] = {}
    for row in table.rows:
        first.setdefault(row.exam, row)
        planes.setdefault(row.exam, {})[row.plane] = row.file
    exams = [
        Exam(name, first[name].person or subject_of(exam_name(Path(name))), found, first[name].values)
        for name, found in planes.items()
    ]
    counts = Counter(p for e in exams for p in e.planes)
    notes = tuple(
        f"{len(exams) - n} of {len(exams)} exams have no {p} scan" for p, n in counts.items() if n < len(exams)
    )
    return check_exams(ExamSet(table.kind, table.labels, tuple(exams), notes))
