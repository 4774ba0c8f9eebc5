"""The scans of exams, prepared once: framed slices in 8 bits, plane by plane."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from napari_medssl.classify.exams.exam import ExamSet
from napari_medssl.classify.exams.planes import read_plane
from napari_medssl.pretext.scan import Scan
from napari_medssl.progress import Steps
from napari_medssl.train.dataset import Case
from napari_medssl.train.grid import Grid
from napari_medssl.train.store import load_scans

PlaneScans: TypeAlias = Sequence[Scan | None]
"""A scan for each exam, None where the exam lacks the plane."""


def load_exams(exams: ExamSet, size: int, *, cache: Path | None = None) -> Steps[dict[str, PlaneScans]]:
    """Every plane's scans as square slices of `size` pixels.

    cache: folder of prepared scans, opened as memory maps; without it they stay in memory.

    Yields Progress. Raises FormatError or another MedSSLError at the first scan that cannot be read: a classifier that
    left exams out in silence would be judged on others than were asked for.
    """
    places = [(n, plane, path) for n, e in enumerate(exams.exams) for plane, path in e.planes.items()]
    cases = [Case(path, None, plane, person=exams.exams[n].person) for n, plane, path in places]
    scans = yield from load_scans(cases, Grid(size=size), cache=cache, bad_files="stop", read_image=read_plane)
    found: dict[str, list[Scan | None]] = {plane: [None] * len(exams.exams) for plane in exams.planes}
    for (n, plane, _), scan in zip(places, scans, strict=True):
        found[plane][n] = scan
    return dict(found)
