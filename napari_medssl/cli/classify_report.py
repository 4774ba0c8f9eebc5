"""Tables of how good an exam classifier is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from napari_medssl.classify.exams.judging import Judged, Judgement
    from napari_medssl.cli.console import Console

_SHORT = {
    "auc": "AUC", "accuracy": "accuracy", "sensitivity": "sens.", "specificity": "spec.", "f1": "F1",
    "balanced accuracy": "bal. acc.", "brier": "Brier", "ece": "ECE",
}  # fmt: skip


def print_judgements(console: Console, rows: Sequence[tuple[str, Judgement]]) -> None:
    """A line for each row and label, with AUC and its interval; then what was not defined, once."""
    from napari_medssl.classify.exams.judging import MEASURES

    head = ["answers of", "label", "AUC", "95 % patients", *(_SHORT[m] for m in MEASURES if m != "auc")]
    lines, reasons = [], []
    for name, judgement in rows:
        for label, found in judgement.by_label.items():
            rest = [_number(found[m]) for m in MEASURES if m != "auc"]
            lines.append([name, label, _number(found["auc"]), _ends(found["auc"]), *rest])
            reasons += [f"{label}: {v.measure.reason}" for v in found.values() if v.measure.value is None]
    console.table(head, lines, left=2)
    for reason in dict.fromkeys(reasons):
        console.remark(f"- {reason}")


def draw_rows(
    targets: np.ndarray, labels: Sequence[str], rows: Sequence[tuple[str, np.ndarray]], path: Path, console: Console
) -> None:
    """ROC, precision-recall and calibration: of one label a line for each row, of several a line for each label of the
    first row. targets: (N, L). rows: name and (N, L) probabilities.
    """
    from napari_medssl.cli.classify_figures import Judged as Line
    from napari_medssl.cli.classify_figures import draw_judged, judged_labels

    if len(labels) == 1:
        lines = [Line(name, targets[:, 0], probability[:, 0]) for name, probability in rows]
        draw_judged(lines, path, console, title=labels[0])
    else:
        name, probability = rows[0]
        draw_judged(judged_labels(labels, targets, probability), path, console, title=name)


def judgement_facts(judgement: Judgement) -> dict[str, Any]:
    """A judgement for a report."""
    return {
        "exams": judgement.exams,
        "people": judgement.people,
        "labels": {
            label: {
                m: {
                    "value": v.measure.value,
                    "reason": v.measure.reason,
                    "low": None if v.interval is None else v.interval.low,
                    "high": None if v.interval is None else v.interval.high,
                    "interval": None if v.interval is None else v.interval.label,
                }
                for m, v in found.items()
            }
            for label, found in judgement.by_label.items()
        },
    }


def _number(judged: Judged) -> str:
    return "-" if judged.measure.value is None else f"{judged.measure.value:.3f}"


def _ends(judged: Judged) -> str:
    return "-" if judged.interval is None else f"{judged.interval.low:.3f}-{judged.interval.high:.3f}"
