"""Running a segmentation and putting everything it gives on disk: mask, probabilities, report and picture."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from napari_medssl.cli.console import Console
from napari_medssl.cli.organ_table import OrganRow, organ_rows
from napari_medssl.cli.overlay import save_overlay
from napari_medssl.engine import Engine
from napari_medssl.io import write, write_segmentation
from napari_medssl.io.formats import stem_of, suffix_of
from napari_medssl.oneshot import Segmentation, SegmentSettings, Support
from napari_medssl.report import environment, report_path, write_report
from napari_medssl.volume import Volume


@dataclass(frozen=True)
class Job:
    """What to segment from what.

    support: None when the examples come from a library. truth: (Z, Y, X) known labels of the query, for Dice.
    slice_range: half-open.
    """

    query: Volume
    support: Support | None
    settings: SegmentSettings
    slice_range: tuple[int, int] | None = None
    truth: np.ndarray | None = None

    @property
    def labelled(self) -> dict[int, tuple[int, ...]]:
        """Organ to the slices of the query it was labelled on; empty when the support is another scan."""
        if self.support is None or self.support.volume is not self.query:
            return {}
        mask = self.support.mask
        return {
            o.value: tuple(int(z) for z in np.flatnonzero((mask == o.value).any(axis=(1, 2))))
            for o in self.support.organs
        }


@dataclass(frozen=True)
class Done:
    """A finished segmentation with its table and the seconds it took."""

    result: Segmentation
    rows: tuple[OrganRow, ...]
    seconds: float


@dataclass(frozen=True)
class Places:
    """Where results go; None for what is not wanted."""

    mask: Path
    overlay: Path | None = None
    probability: Mapping[int, Path] = field(default_factory=dict)

    def all(self) -> tuple[Path, ...]:
        """Every file that will be written, side-cars included."""
        side_cars = () if suffix_of(self.mask) in (".seg.nrrd", ".npz") else (_table_path(self.mask),)
        overlay = () if self.overlay is None else (self.overlay,)
        return (self.mask, report_path(self.mask), *side_cars, *overlay, *self.probability.values())


def probability_paths(mask: Path, organs: Sequence[int]) -> dict[int, Path]:
    """`liver.nii.gz` has the probability of organ 1 in `liver.probability-1.nii.gz` (.nrrd for .seg.nrrd)."""
    suffix = ".nrrd" if suffix_of(mask) == ".seg.nrrd" else suffix_of(mask)
    return {organ: mask.with_name(f"{stem_of(mask)}.probability-{organ}{suffix}") for organ in organs}


def run_job(engine: Engine, job: Job, console: Console) -> Done:
    """Segment with progress."""
    start = time.perf_counter()
    supports = [] if job.support is None else [job.support]
    steps = engine.segment_steps(job.query, supports, slice_range=job.slice_range, settings=job.settings)
    result = console.follow(steps)
    seconds = time.perf_counter() - start
    return Done(result, organ_rows(result.labels, truth=job.truth, labelled=job.labelled), seconds)


def save(done: Done, job: Job, places: Places, *, facts: Mapping[str, Any]) -> None:
    """Write what `places` asks for; each file is complete on the disk before it takes its name, the report last.

    facts: what the command knows and the engine does not (arguments, input files).
    """
    write_segmentation(places.mask, done.result.labels)
    for organ, path in places.probability.items():
        chance = done.result.probability[organ].astype(np.float32)
        write(path, job.query.like(chance))
    if places.overlay is not None:
        save_overlay(places.overlay, job.query, done.result.labels, truth=job.truth, labelled=job.labelled)
    write_report(
        report_path(places.mask),
        {
            **environment(),
            **facts,
            "output": {"mask": places.mask.name, **_beside(places)},
            "seconds_total": round(done.seconds, 3),
            "organ_table": [row.facts() for row in done.rows],
            **done.result.report,
        },
    )


def _beside(places: Places) -> dict[str, Any]:
    """Where the other results lie, seen from the report, so that a folder can be moved with everything in it."""

    def name(path: Path) -> str:
        return path.name if path.parent == places.mask.parent else str(path)

    return {
        "overlay": None if places.overlay is None else name(places.overlay),
        "probability": {organ: name(path) for organ, path in places.probability.items()},
    }


def _table_path(mask: Path) -> Path:
    return mask.with_name(f"{stem_of(mask)}.labels.json")
