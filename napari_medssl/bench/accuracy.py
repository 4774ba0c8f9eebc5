"""Dice on a folder of labelled scans: one labelled slice in the scan itself, or three in another patient's."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from napari_medssl.engine import Engine
from napari_medssl.errors import FormatError
from napari_medssl.io import read
from napari_medssl.oneshot import SegmentSettings, Support
from napari_medssl.progress import Progress, Steps
from napari_medssl.train.dataset import Case, collect_cases
from napari_medssl.volume import Volume

Task = Literal["within", "across"]
_LEAST_VOXELS, _LEAST_SLICES = 300, 3  # smaller organs are left out


@dataclass(frozen=True)
class Score:
    """One organ of one scan.

    whole: Dice over the whole scan, nothing known of the organ's range. in_range: Dice over the organ's own slices;
    across scans the range is given to the method ("oracle", as in published tables), within it is not.
    seconds: of the run without a given range.
    """

    scan: str
    organ: int
    whole: float
    in_range: float
    seconds: float


def accuracy_steps(
    folder: Path,
    task: Task,
    *,
    engine: Engine,
    settings: SegmentSettings | None = None,
    only: Sequence[str] = (),
) -> Steps[list[Score]]:
    """Segment every organ of every scan of `folder` from few labelled slices, and compare with its label maps.

    folder: `images/` and `labels/` with files of the same names.
    "within": one labelled slice, the organ's largest, of the scan itself; Dice over all other slices.
    "across": the last scan of the folder is the support, with three labelled slices, the middles of three equal
    parts of the organ (thesis section 7.4.2.2); Dice over the other scans.
    only: file-name beginnings of the scans to measure; all when empty.

    Raises FormatError when no scan of the folder has labels.
    """
    cases = [c for c in collect_cases([folder]) if c.labels is not None]
    chosen = [c for c in cases if not only or c.image.name.startswith(tuple(only))]
    if not chosen:
        raise FormatError(f"no labelled scan to measure in {folder}; it needs images/ and labels/ with the same names")
    pair = _read(cases[-1]) if task == "across" else None
    if task == "across":
        chosen = [c for c in chosen if c is not cases[-1]]
    scores: list[Score] = []
    for i, case in enumerate(chosen):
        yield Progress(i, len(chosen), f"measuring {case.image.name}")
        scan, truth = _read(case)
        for organ in organs_of(truth):
            if pair is None:
                scores.append(_within(case, scan, truth == organ, organ, engine, settings))
            elif (pair[1] == organ).any(axis=(1, 2)).sum() >= _LEAST_SLICES:
                scores.append(_across(case, scan, truth == organ, organ, pair, engine, settings))
    return scores


def organs_of(truth: np.ndarray) -> list[int]:
    """Label values of at least 300 voxels on at least 3 slices."""
    values = (int(v) for v in np.unique(truth) if v)
    return [
        v
        for v in values
        if (truth == v).sum() >= _LEAST_VOXELS and (truth == v).any(axis=(1, 2)).sum() >= _LEAST_SLICES
    ]


def dice(a: np.ndarray, b: np.ndarray) -> float:
    """2 |A and B| / (|A| + |B|); NaN when both are empty."""
    total = int(a.sum()) + int(b.sum())
    return 2.0 * int((a & b).sum()) / total if total else float("nan")


def three_slices(organ: np.ndarray) -> list[int]:
    """The middle slices of the three equal parts of an organ's slices; organ: bool (Z, Y, X)."""
    slices = np.flatnonzero(organ.any(axis=(1, 2)))
    return [int(part[len(part) // 2]) for part in np.array_split(slices, 3)]


def _read(case: Case) -> tuple[Volume, np.ndarray]:
    assert case.labels is not None  # only labelled cases are kept
    scan, labels = read(case.image), read(case.labels, labels=True)
    if labels.shape != scan.shape:
        raise FormatError(f"{case.labels} has shape {labels.shape} but its scan has {scan.shape}")
    return scan, labels.data


def _within(
    case: Case, scan: Volume, truth: np.ndarray, organ: int, engine: Engine, settings: SegmentSettings | None
) -> Score:
    z = int(truth.sum(axis=(1, 2)).argmax())
    mask = np.zeros(truth.shape, np.uint8)
    mask[z] = truth[z]
    start = time.perf_counter()
    found = engine.segment(scan, [Support(scan, mask)], settings=settings).labels.data == 1
    seconds = time.perf_counter() - start
    others = np.arange(len(truth)) != z
    present = truth.any(axis=(1, 2)) & others
    return Score(
        case.image.name, organ, dice(found[others], truth[others]), dice(found[present], truth[present]), seconds
    )


def _across(
    case: Case,
    scan: Volume,
    truth: np.ndarray,
    organ: int,
    pair: tuple[Volume, np.ndarray],
    engine: Engine,
    settings: SegmentSettings | None,
) -> Score:
    mask = np.zeros(pair[1].shape, np.uint8)
    for z in three_slices(pair[1] == organ):
        mask[z] = pair[1][z] == organ
    support = Support(pair[0], mask)
    slices = np.flatnonzero(truth.any(axis=(1, 2)))
    span = (int(slices[0]), int(slices[-1]) + 1)
    start = time.perf_counter()
    whole = engine.segment(scan, [support], settings=settings).labels.data == 1
    seconds = time.perf_counter() - start
    given = engine.segment(scan, [support], slice_range=span, settings=settings).labels.data == 1
    return Score(case.image.name, organ, dice(whole, truth), dice(given[slice(*span)], truth[slice(*span)]), seconds)
