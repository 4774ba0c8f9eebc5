"""Scores on disk: a table with a row per slice, and a report with the findings."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from napari_medssl.classify.slices.findings import findings
from napari_medssl.classify.slices.head import SliceHead
from napari_medssl.classify.slices.marks import SliceMarks
from napari_medssl.classify.slices.scores import SliceScores
from napari_medssl.io.atomic import replacing
from napari_medssl.report import environment, write_report


def write_scores_csv(path: Path, scores: Mapping[str, SliceScores], marks: SliceMarks | None = None) -> None:
    """A row per scan and slice: file, slice, the probability and spread of every class, and what was marked, if asked.

    scores: of one head. Raises FormatError when the file cannot be written; what was there stays then.
    """
    classes = next(iter(scores.values())).classes if scores else ()
    marked = classes if marks is not None else ()
    with replacing(path) as (temp,), temp.open("w", newline="", encoding="utf-8") as f:
        rows = csv.writer(f)
        rows.writerow(["file", "slice", *classes, *(f"{c} spread" for c in classes), *(f"{c} marked" for c in marked)])
        for scan, found in scores.items():
            for z, (p, s) in enumerate(zip(found.probability, found.spread, strict=True)):
                said = _said(marks, scan, z, classes) if marks is not None else []
                rows.writerow([scan, z, *(f"{v:.4f}" for v in (*p, *s)), *said])


def scores_report(head: SliceHead, scores: Mapping[str, SliceScores]) -> dict[str, Any]:
    """Versions, the head's facts and thresholds, and of every scan its own scores and findings; plain JSON."""
    scans = {
        scan: {
            "slices": len(found.probability),
            "exam": dict(zip(found.classes, map(float, np.round(found.exam, 4)), strict=True)),
            "findings": [asdict(finding) for finding in findings(found, head.threshold_of)],
        }
        for scan, found in scores.items()
    }
    facts = {"head": head.name, "classes": list(head.classes), "marks": head.kind, "encoder": asdict(head.encoder)}
    return {**environment(), **facts, "thresholds": head.threshold_of, "notes": list(head.notes),
            "card": dict(head.card), "scans": scans}  # fmt: skip


def write_scores_json(path: Path, head: SliceHead, scores: Mapping[str, SliceScores]) -> None:
    """`scores_report` as a file. Raises FormatError when it cannot be written."""
    write_report(path, scores_report(head, scores))


def _said(marks: SliceMarks, scan: str, z: int, classes: tuple[str, ...]) -> list[str]:
    said = marks.slices.get(scan, {}).get(z)
    if said is None:
        return [""] * len(classes)
    row = dict(zip(marks.classes, marks.row(said), strict=True))
    return ["" if np.isnan(row[c]) else str(int(row[c])) for c in classes]
