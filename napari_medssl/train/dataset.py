"""Labelled and unlabelled scans: where they are on disk."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_medssl.errors import FormatError
from napari_medssl.io import list_series
from napari_medssl.io.formats import looks_like_dicom

if TYPE_CHECKING:
    from napari_medssl.io.dicom_series import Series

log = logging.getLogger(__name__)

_LABEL_WORDS = {"seg", "segmentation", "msk", "mask", "labels", "labelmap"}
SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".mha", ".mhd", ".mgz", ".mgh", ".npz")


@dataclass(frozen=True)
class Case:
    """One scan on disk with its label map, if any.

    image: a file, or a folder of DICOM files. group: the data set it belongs to. series: UID of the DICOM series, for a
    folder that holds several. person: whose scan it is, where that is known from more than the file's name.
    """

    image: Path
    labels: Path | None
    group: str
    series: str | None = None
    person: str = ""


def collect_cases(roots: Iterable[Path], *, exclude: Sequence[str] = ()) -> list[Case]:
    """All scans below `roots`, in sorted order.

    A folder with `images/` and `labels/` holds pairs of the same file name; any other folder holds unlabelled
    scans. There, label maps are left out: files of which a word (between "_", "-" or ".") is seg, segmentation, msk,
    mask, labels or labelmap, or which end with the word label or label_map. `exclude`: file-name prefixes to hold out.

    Raises FormatError for a root that does not exist or holds no scan.
    """
    cases: list[Case] = []
    for root in roots:
        if not root.is_dir():
            raise FormatError(f"{root} is not a folder; give folders of scans")
        found = sorted(_pairs(root) if (root / "images").is_dir() else _singles(root), key=lambda c: c.image)
        if not found:
            raise FormatError(f"no scan ({', '.join(SUFFIXES)}) in {root}")
        cases += [c for c in found if not c.image.name.startswith(tuple(exclude))]
    return cases


def cases_in(paths: Iterable[Path], *, exclude: Sequence[str] = ()) -> list[Case]:
    """As `collect_cases`, for single scans (files) and folders of DICOM files as well, whatever their depth.

    A single file in a folder `images` has its label map under the same name in `labels` beside it.
    """
    cases: list[Case] = []
    for path in paths:
        if path.is_file():
            cases.append(_single(path))
        elif path.is_dir() and not (path / "images").is_dir() and not any(map(_is_scan, path.iterdir())):
            cases += _dicom_series(path)
        else:
            cases += collect_cases([path])
    return [c for c in cases if not c.image.name.startswith(tuple(exclude))]


def _is_scan(path: Path) -> bool:
    return path.name.endswith(SUFFIXES)


def _single(path: Path) -> Case:
    if path.parent.name != "images":
        return Case(path, None, path.parent.name)
    labels = path.parent.parent / "labels" / path.name
    return Case(path, labels if labels.is_file() else None, path.parent.parent.name)


def _dicom_series(root: Path) -> list[Case]:
    from napari_medssl.io.dicom_series import patient_of  # pydicom only where it is needed

    folders = sorted({p.parent for p in root.rglob("*") if p.is_file() and looks_like_dicom(p)})
    cases: list[Case] = []
    for folder in reversed(folders):  # the innermost first: a folder also lists the series of the folders below it
        known = {c.series for c in cases if folder in c.image.parents}
        for series in _series_in(folder):
            if series.uid not in known:
                # Folders are called after series, or alike for everybody: without an ID each series is somebody's own.
                cases.append(Case(folder, None, root.name, series.uid, patient_of(series) or series.uid))
    if not cases:
        raise FormatError(f"no scan ({', '.join(SUFFIXES)} or DICOM series) in {root}")
    return sorted(cases, key=lambda c: (str(c.image), c.series or ""))


def _series_in(folder: Path) -> tuple[Series, ...]:
    try:
        return list_series(folder)
    except FormatError as error:  # plans and structures without pictures lie among scans
        log.warning("left out %s: %s", folder, error)
        return ()


def _pairs(root: Path) -> list[Case]:
    images = [p for p in (root / "images").iterdir() if p.name.endswith(SUFFIXES)]
    return [Case(p, q if (q := root / "labels" / p.name).is_file() else None, root.name) for p in images]


def _singles(root: Path) -> list[Case]:
    files = [p for p in root.iterdir() if p.name.endswith(SUFFIXES)]
    return [Case(p, None, root.name) for p in files if not _is_label_map(p.name)]


def _is_label_map(name: str) -> bool:
    suffix = next(s for s in (".nii.gz", *SUFFIXES) if name.endswith(s))  # the longest first
    words = re.split(r"[_\-.]", name.removesuffix(suffix).lower())
    # "label" elsewhere may be a value of the scan's name, as in sub-1_label-22_ct.
    return bool(_LABEL_WORDS & set(words)) or words[-1] == "label" or words[-2:] == ["label", "map"]
