"""Scans prepared for training once, and kept on disk so that neither memory nor the next run pays for it again."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from napari_medssl.errors import FormatError, MedSSLError
from napari_medssl.io import read
from napari_medssl.io.atomic import replacing
from napari_medssl.models.bundle import file_sha256
from napari_medssl.pretext.scan import Scan
from napari_medssl.progress import Progress, Steps
from napari_medssl.train.dataset import Case
from napari_medssl.train.grid import Grid, Voxels, on_grid
from napari_medssl.volume import Volume

log = logging.getLogger(__name__)

# Of names: channel; sequence; time; any word.
_TAILS = (r"_\d{4}$", r"[_-](t[12][a-z]*|pdw?|flair|adc|dwi|swi)$", r"_((frame|phase|time)\d+|4d)$", r"_[a-z]+$")
_VERSION = 1  # of the prepared form; part of the key


class _CacheError(FormatError):
    """The cache's disk refused; no fault of the scan that was to be kept there."""


def load_scans(
    cases: Sequence[Case],
    grid: Grid,
    *,
    cache: Path | None = None,
    bad_files: Literal["skip", "stop"] = "skip",
    read_image: Callable[..., Volume] = read,
) -> Steps[list[Scan]]:
    """Every case on `grid`, as 8-bit voxels.

    read_image: opens an image, `read_image(path, series=...)`, for those in formats of a data set of its own.

    cache: folder of prepared scans; what is there is opened as a memory map instead of being read again. Without it the
        scans stay in memory. bad_files: a scan that cannot be read, or whose label map does not fit, is named in the
        log and left out, or ends the loading.

    Yields Progress. Raises FormatError when no scan is left, when the cache cannot be written, or at the first bad
    scan with `bad_files="stop"`.
    """
    if cache is not None:
        cache.mkdir(parents=True, exist_ok=True)
    scans, refused = [], []
    for i, case in enumerate(cases):
        yield Progress(i, len(cases), f"reading {case.image.name}")
        try:
            scans.append(_prepared(case, grid, cache, read_image))
        except _CacheError as error:
            raise FormatError(str(error)) from error
        except MedSSLError as error:
            if bad_files == "stop":
                raise FormatError(f"cannot train on {case.image}: {error}") from error
            log.warning("left out %s: %s", case.image, error)
            refused.append(f"{case.image.name}: {error}")
    if not scans:
        raise FormatError(f"none of the {len(cases)} scans could be read; the first: {refused[0] if refused else '-'}")
    return scans


def prepare_volume(volume: Volume, grid: Grid, *, name: str, group: str, labels: Volume | None = None) -> Scan:
    """A volume that is already open, on `grid`."""
    case = Case(Path(name), None, group)
    return _scan(case, *on_grid(volume, grid, labels=labels, name=name))


def scans_digest(scans: Sequence[Scan]) -> str:
    """Short hash of names and voxels, so that a run is not continued on other data without anybody noticing."""
    h = hashlib.sha256()
    for scan in scans:
        h.update(f"{scan.name} {scan.shape} {scan.spacing_mm}".encode())
        h.update(np.ascontiguousarray(scan.image[:: max(1, len(scan.image) // 8)]).data)
    return h.hexdigest()[:16]


def subject_of(name: str) -> str:
    """The person of a scan, from its file name, so that two scans of one person stay on one side of a split.

    The entity `sub-...` where there is one (BIDS); otherwise the name without a channel number (`_0000`, nnU-Net) and
    without a last word that names a sequence (`_t1ce`, `-T2`), a time (`_frame01`) or, being all letters, a phase or
    visit, as long as a number stays in what is left.

    >>> [subject_of(n) for n in ("sub-07_T1w.nii.gz", "SC-HF-I-01_ED.nii.gz", "chaos_t2_01.nii.gz", "CT_AVM.nii.gz")]
    ['sub-07', 'SC-HF-I-01', 'chaos_t2_01', 'CT_AVM']
    """
    stem = re.sub(r"\.(nii\.gz|nii|nrrd|mha|mhd|npz|mgz|mgh|dcm)$", "", name, flags=re.IGNORECASE)
    if found := re.match(r"sub-[0-9A-Za-z]+", stem):
        return found.group()
    for tail in _TAILS:
        shorter = re.sub(tail, "", stem, flags=re.IGNORECASE)
        if re.search(r"\d", shorter):
            stem = shorter
    return stem


def _prepared(case: Case, grid: Grid, cache: Path | None, read_image: Callable[..., Volume]) -> Scan:
    if cache is None:
        return _scan(case, *_read_on(case, grid, read_image))
    stem = cache / _key(case, grid)
    facts_file = stem.with_suffix(".json")
    if not facts_file.is_file():
        image, labels, spacing = _read_on(case, grid, read_image)
        try:
            _store(stem, image, labels, spacing)
        except FormatError as error:
            raise _CacheError(f"prepared scans cannot be kept: {error}; or choose another folder for them") from error
    facts = json.loads(facts_file.read_text())
    image = np.load(stem.with_suffix(".image.npy"), mmap_mode="r")
    labels = np.load(stem.with_suffix(".labels.npy"), mmap_mode="r") if facts["labels"] else None
    return _scan(case, image, labels, facts["spacing_mm"])


def _scan(case: Case, image: npt.NDArray[np.uint8], labels: Any, spacing_mm: Sequence[float]) -> Scan:
    z, y, x = spacing_mm
    return Scan(image, labels, (z, y, x), case.image.name, case.group, case.person or subject_of(case.image.name))


def _key(case: Case, grid: Grid) -> str:
    h = hashlib.sha256(json.dumps([_VERSION, grid.size, grid.spacing_mm, case.series]).encode())
    for path in (case.image, case.labels):
        for file in [path] if path is None or not path.is_dir() else sorted(path.iterdir()):
            h.update(b"-" if file is None or not file.is_file() else file_sha256(file).encode())
    return h.hexdigest()[:32]


def _store(stem: Path, image: npt.NDArray[np.uint8], labels: Any, spacing_mm: Sequence[float]) -> None:
    arrays = {".image.npy": image} | ({} if labels is None else {".labels.npy": labels})
    for suffix, array in arrays.items():
        with replacing(stem.with_suffix(suffix)) as (part,), part.open("wb") as f:
            np.save(f, array)
    # Last: a preparation that was interrupted leaves no facts, and is done again.
    with replacing(stem.with_suffix(".json")) as (part,):
        part.write_text(json.dumps({"spacing_mm": list(spacing_mm), "labels": labels is not None}))


def _read_on(case: Case, grid: Grid, read_image: Callable[..., Volume]) -> Voxels:
    volume = read_image(case.image, series=case.series)
    labels = read(case.labels, labels=True) if case.labels is not None else None
    if labels is not None and labels.shape != volume.shape:
        raise FormatError(f"{case.labels} has shape {labels.shape} but its image has {volume.shape}")
    return on_grid(volume, grid, labels=labels, name=case.labels or case.image)
