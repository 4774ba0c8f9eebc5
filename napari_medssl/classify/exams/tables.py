"""Scores of exams as a table."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from napari_medssl.classify.exams.model import ExamScore
from napari_medssl.io.atomic import replacing


def score_columns(labels: tuple[str, ...], planes: tuple[str, ...]) -> list[str]:
    """The head of the table."""
    own = [f"{label}{part}" for label in labels for part in ("", " spread", " answer")]
    each = [f"{label} {plane}" for label in labels for plane in planes if plane]
    return ["exam", *own, *each]


def score_cells(name: str, score: ExamScore, labels: tuple[str, ...], planes: tuple[str, ...]) -> list[str]:
    """A row: probability, spread over draws and answer of each label, then what each plane says, "" where missing."""
    cells = [name]
    for n in range(len(labels)):
        cells += [f"{score.probability[n]:.4f}", f"{score.spread[n]:.4f}", str(int(score.answer[n]))]
    for n in range(len(labels)):
        cells += [f"{score.planes[p][0][n]:.4f}" if p in score.planes else "" for p in planes if p]
    return cells


def write_scores(path: Path, scores: Mapping[str, ExamScore], labels: tuple[str, ...], planes: tuple[str, ...]) -> None:
    """Write a CSV with a row for each exam, whole or not at all."""
    with replacing(path) as (part,), part.open("w", newline="", encoding="utf-8") as f:
        table = csv.writer(f)
        table.writerow(score_columns(labels, planes))
        table.writerows(score_cells(name, score, labels, planes) for name, score in scores.items())
