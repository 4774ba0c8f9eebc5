"""The report of an accuracy measurement: written after every scan, so that a stopped run can go on."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

from napari_medssl.bench.accuracy import OURS, Protocol, Score
from napari_medssl.bench.averages import Average, Comparison, against, gains, lines
from napari_medssl.cli.outputs import check_outputs
from napari_medssl.errors import FormatError
from napari_medssl.report import environment, plain, write_report
from napari_medssl.samples.folder import ORGAN_NAMES


class Record:
    """Scores so far, in memory and, when there is a path, on the disk.

    path: of the report, or None. asked: what was measured, which a report to go on with must agree with. engine: facts.

    Raises FormatError when the file holds an unfinished run of something else (unless `force`, which begins anew).
    """

    def __init__(self, path: Path | None, asked: dict[str, Any], engine: dict[str, Any], *, force: bool) -> None:
        self.path, self._asked, self._engine = path, asked, engine
        self.scores: list[Score] = []
        self.measured: list[str] = []
        self.skipped: list[dict[str, str]] = []
        if path is not None and path.exists() and not force:
            self._go_on(path)

    def add(self, scan: str, scores: list[Score]) -> None:
        """Keep a scan's scores."""
        self.scores += scores
        self.measured.append(scan)
        self._write({"finished": False})

    def skip(self, scan: str, reason: str) -> None:
        """Remember a scan that could not be used; a later run tries it again."""
        self.skipped.append({"scan": scan, "reason": reason})
        self._write({"finished": False})

    def finish(self, protocol: Protocol) -> None:
        """Add the averages. A run with scans left out stays unfinished: repeated, it tries them again."""
        self._write({"finished": not self.skipped, **_summary(self.scores, protocol)})

    def _write(self, more: dict[str, Any]) -> None:
        if self.path is None:
            return
        facts = {
            **environment(),
            "task": self._asked["task"],
            "settings": self._asked["settings"],
            "asked": self._asked,
            "engine": self._engine,
            "skipped": self.skipped,
            "measured": self.measured,
            **more,
            "scores": [dataclasses.asdict(s) for s in self.scores],
        }
        write_report(self.path, facts)

    def _go_on(self, path: Path) -> None:
        stored = _load(path)
        if stored["asked"] != json.loads(json.dumps(plain(self._asked))):
            raise FormatError(
                f"{path} holds a run with other scans, settings or weights that was not finished; repeat it as it was, "
                "add --force to begin anew, or give another name"
            )
        self.measured = list(stored["measured"])
        self.scores = [_score(s) for s in stored["scores"]]


def check_record(path: Path, *, force: bool) -> None:
    """Raise FormatError when a report may not take this name: no folder, or a finished or foreign file is there."""
    unfinished = path.is_file() and _load(path).get("finished") is False
    check_outputs([path], force=force or unfinished)


def organ_names(folder: Path) -> dict[int, str]:
    """Names of the label values of known data sets."""
    return dict(enumerate(ORGAN_NAMES.get(folder.resolve().name, ()), start=1))


def _load(path: Path) -> dict[str, Any]:
    """The report's facts; none when the file is no such report."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stored if isinstance(stored, dict) and {"asked", "measured", "scores"} <= stored.keys() else {}


def _score(facts: dict[str, Any]) -> Score:
    values: dict[str, Any] = {k: math.nan if v is None else v for k, v in facts.items()}
    values["labelled"] = tuple(values["labelled"])
    return Score(**values)


def _summary(scores: list[Score], protocol: Protocol) -> dict[str, Any]:
    crossed = protocol.task == "across"
    averages = [
        {
            "method": line.method,
            "slices": line.slices,
            "organ": line.organ or "mean",
            "scans": line.scans,
            "seconds_median": line.seconds,
            "cpu_seconds_median": line.cpu_seconds,
            "undefined": line.undefined,
            **{name: _average(value) for name, value in line.values.items()},
        }
        for line in lines(scores, crossed=crossed)
    ]
    return {
        "averages": averages,
        "differences": {
            measure: [_comparison(c) for c in against(scores, crossed=crossed, measure=measure)]
            for measure in ("whole", "in_range", "surface_dice")
        },
        "gain_of_slices": [_comparison(c) for c in gains(scores, crossed=crossed)],
    }


def _average(value: Average) -> dict[str, Any]:
    intervals = (value.over_subjects, value.over_supports, value.over_both)
    return {"mean": value.mean, "count": value.count} | {i.label: [i.low, i.high] for i in intervals if i is not None}


def _comparison(c: Comparison) -> dict[str, Any]:
    names = {"method": OURS, "less": c.second} if c.first == OURS else {"slices": int(c.first), "less": int(c.second)}
    return {**names, "organ": c.organ or "mean", "verdict": c.verdict, **_average(c.value)}
