"""Marks and vectors of scans on disk: from a table of labels, or from label maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from napari_medssl.classify.slices.marks import Said, SliceMarks, several_classes
from napari_medssl.classify.slices.vectors import FeatureEngine, SliceVectors, slice_vectors_steps
from napari_medssl.classify.table import LabelTable
from napari_medssl.errors import FormatError
from napari_medssl.evaluate.presence import LEAST_MM2
from napari_medssl.io import read
from napari_medssl.progress import Progress, Steps
from napari_medssl.samples.folder import ORGAN_NAMES
from napari_medssl.train.dataset import Case
from napari_medssl.volume import Volume


@dataclass(frozen=True, eq=False)
class MarkedScans:
    """Scans as vectors with what is marked in them; both are told by the scan's path."""

    vectors: dict[str, SliceVectors]
    marks: SliceMarks


def marks_from_table(table: LabelTable) -> SliceMarks:
    """What a table says: rows with a slice of that slice, rows without one of the whole scan."""
    slices: dict[str, dict[int, Said]] = {}
    exams: dict[str, Said] = {}
    for row in table.rows:
        said = {name: bool(value) for name, value in zip(table.labels, row.values, strict=True)}
        if table.kind == "one":
            said = {name: True for name, there in said.items() if there}
        if row.slice is None:
            exams[str(row.file)] = said
        else:
            slices.setdefault(str(row.file), {})[row.slice] = said
    return SliceMarks(table.labels, table.kind, slices, exams)


def table_vectors_steps(engine: FeatureEngine, table: LabelTable, *, more: Sequence[Path] = ()) -> Steps[MarkedScans]:
    """The scans of a table, and `more` scans without a mark, which say what is common.

    Raises FormatError and other MedSSLError children for a scan that cannot be read.
    """
    paths = list(dict.fromkeys([*(row.file for row in table.rows), *more]))
    vectors = yield from vectors_of_files_steps(engine, paths)
    return MarkedScans(vectors, marks_from_table(table))


def vectors_of_files_steps(engine: FeatureEngine, paths: Sequence[Path]) -> Steps[dict[str, SliceVectors]]:
    """Path to the slices of its scan, one scan in memory at a time."""
    found: dict[str, SliceVectors] = {}
    for number, path in enumerate(paths):
        yield Progress(number, len(paths), "encoding scans", path.name)
        found[str(path)] = yield from slice_vectors_steps(engine, read(path))
    return found


def labelled_vectors_steps(
    engine: FeatureEngine, cases: Sequence[Case], *, names: Mapping[int, str] | None = None
) -> Steps[MarkedScans]:
    """Scans with the organs of their label maps as marks of every slice; scans without a label map have none.

    names: of label values; by default those of known data sets, else the values themselves, as in `evaluate`.

    Raises FormatError when no scan has a label map or one does not fit its scan.
    """
    vectors: dict[str, SliceVectors] = {}
    shown: dict[str, dict[int, list[int]]] = {}
    for number, case in enumerate(cases):
        yield Progress(number, len(cases), "encoding scans", case.image.name)
        scan = read(case.image)
        vectors[str(case.image)] = yield from slice_vectors_steps(engine, scan)
        if case.labels is not None:
            shown[str(case.image)] = organs_on_slices(_labels_of(case, scan))
    if not shown:
        raise FormatError("none of the scans has a label map; they lie in labels/ beside images/, under the same names")
    values = sorted({value for marked in shown.values() for organs in marked.values() for value in organs})
    name_of = {value: _name(value, cases, names) for value in values}
    said = {scan: {z: [name_of[v] for v in organs] for z, organs in marked.items()} for scan, marked in shown.items()}
    return MarkedScans(vectors, several_classes([name_of[v] for v in values], said))


def organs_on_slices(labels: Volume, *, least_mm2: float = LEAST_MM2) -> dict[int, list[int]]:
    """Slice to the label values with at least `least_mm2` of area on it; every slice is there."""
    pixel = labels.spacing_mm[1] * labels.spacing_mm[2]
    return {z: _large(plane, least_mm2 / pixel) for z, plane in enumerate(labels.data)}


def _large(plane: npt.NDArray[np.integer], pixels: float) -> list[int]:
    values, counts = np.unique(plane, return_counts=True)
    return [int(v) for v, n in zip(values, counts, strict=True) if v and n >= pixels]


def _labels_of(case: Case, scan: Volume) -> Volume:
    assert case.labels is not None  # only labelled cases are asked
    labels = read(case.labels, labels=True)
    if labels.shape != scan.shape:
        raise FormatError(f"{case.labels} has shape {labels.shape} but its scan has {scan.shape}")
    return labels


def _name(value: int, cases: Sequence[Case], names: Mapping[int, str] | None) -> str:
    if names is not None:
        return names.get(value, str(value))
    groups = {case.group for case in cases if case.labels is not None}
    known = ORGAN_NAMES.get(groups.pop(), ()) if len(groups) == 1 else ()
    return known[value - 1] if value <= len(known) else str(value)
