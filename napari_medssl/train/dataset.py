"""Labelled and unlabelled volumes: where they are, and as framed 8-bit slices."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from napari_medssl.errors import FormatError
from napari_medssl.intensity import to_unit, window_limits
from napari_medssl.io import list_series
from napari_medssl.io.formats import looks_like_dicom
from napari_medssl.models.features import SliceFrame
from napari_medssl.models.slices import into_frame, make_frame
from napari_medssl.volume import Volume

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


@dataclass(frozen=True, eq=False)
class FramedVolume:
    """A volume as framed slices.

    image: (Z, S, S) uint8, the intensity window spread over 0..255.
    labels: (Z, S, S) uint8 or None when unlabelled.
    spacing_z_mm: distance of neighbouring slices. pixel_mm: side of a framed pixel.
    """

    case: Case
    image: np.ndarray
    labels: np.ndarray | None
    spacing_z_mm: float
    pixel_mm: float


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
    cases: dict[str, Case] = {}  # by UID: a folder also lists the series of the folders below it
    for folder in reversed(folders):  # the innermost first
        for series in list_series(folder):
            # Folders are called after series, or alike for everybody: without an ID each is somebody's own.
            person = patient_of(series) or str(folder)
            cases.setdefault(series.uid, Case(folder, None, root.name, series.uid, person))
    if not cases:
        raise FormatError(f"no scan ({', '.join(SUFFIXES)} or DICOM series) in {root}")
    return sorted(cases.values(), key=lambda c: (str(c.image), c.series or ""))


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


def data_facts(cases: Sequence[Case]) -> dict[str, list[str]]:
    """Data set to the names of its scans, for the model card."""
    groups: dict[str, list[str]] = {}
    for case in cases:
        groups.setdefault(case.group, []).append(case.image.name)
    return groups


def frame_volume(case: Case, volume: Volume, labels: Volume | None, size: int) -> FramedVolume:
    """Frame the slices of a volume already in memory."""
    z_mm, y_mm, x_mm = volume.spacing_mm
    frame = make_frame(volume.shape[1:], (y_mm, x_mm), size)
    limits = window_limits(volume)
    image = np.empty((volume.shape[0], size, size), np.uint8)
    for z in range(volume.shape[0]):
        framed = into_frame(torch.from_numpy(to_unit(volume.data[z : z + 1], limits)), frame)
        image[z] = (framed[0] * 255).round().to(torch.uint8).numpy()
    framed_labels = None if labels is None else _frame_labels(label_bytes(labels, case), frame)
    return FramedVolume(case, image, framed_labels, z_mm, max(volume.shape[1] * y_mm, volume.shape[2] * x_mm) / size)


def label_bytes(labels: Volume, case: Case) -> np.ndarray:
    """(Z, Y, X) uint8 labels; raises FormatError when a value does not fit, because it would turn into another."""
    if labels.data.size and not 0 <= labels.data.min() <= labels.data.max() <= 255:
        raise FormatError(
            f"{case.labels or case.image} has labels from {labels.data.min()} to {labels.data.max()}; "
            "training takes 0 to 255, renumber them first"
        )
    return labels.data.astype(np.uint8)


def _frame_labels(labels: np.ndarray, frame: SliceFrame) -> np.ndarray:
    # Nearest neighbour at pixel centres: label numbers must not mix.
    rows = ((np.arange(frame.inner[0]) + 0.5) * frame.shape[0] / frame.inner[0]).astype(int)
    columns = ((np.arange(frame.inner[1]) + 0.5) * frame.shape[1] / frame.inner[1]).astype(int)
    out = np.zeros((len(labels), frame.size, frame.size), np.uint8)
    top, left = frame.offset
    out[:, top : top + frame.inner[0], left : left + frame.inner[1]] = labels[:, rows][:, :, columns]
    return out
