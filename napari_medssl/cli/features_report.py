"""What `medssl features` says of its scans in the end, and its report."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_medssl.cli.console import Console
from napari_medssl.explore.cohort.outcome import Outcome, State
from napari_medssl.report import write_report

_STATES: dict[State, str] = {"done": "made", "there": "there already", "failed": "failed"}


def say_outcomes(outcomes: Sequence[Outcome], console: Console) -> None:
    """A table of what was made, remarks, and why scans failed; the failures last, where they are seen."""
    for note, names in _notes(outcomes).items():
        console.remark(f"{names[0] if len(names) == 1 else f'{len(names)} scans'}: {note}")
    rows = [(o.name, _STATES[o.state], str(o.facts.get("summary", "")), f"{o.seconds:.1f}") for o in outcomes]
    console.table(("scan", "", "result", "seconds"), rows, left=3)
    counts = Counter(outcome.state for outcome in outcomes)
    told = ", ".join(f"{counts[state]} {text}" for state, text in _STATES.items() if counts[state])
    console.say(f"\n{len(outcomes)} scan{'s' if len(outcomes) != 1 else ''}: {told}")
    for outcome in outcomes:
        if outcome.state == "failed":
            console.problem(f"{outcome.scan}: {outcome.reason}")


def _notes(outcomes: Sequence[Outcome]) -> dict[str, list[str]]:
    """Each note with the scans it is about: of a thousand scans many say the same."""
    found: dict[str, list[str]] = {}
    for outcome in outcomes:
        again = [f"made again: {outcome.reason}"] if outcome.state == "done" and outcome.reason else []
        for note in [*again, *outcome.notes]:
            found.setdefault(note, []).append(outcome.name)
    return found


def write_run_report(path: Path, outcomes: Sequence[Outcome], facts: Mapping[str, Any], start: float) -> None:
    """The report of a whole run. start: `time.perf_counter()` at its beginning."""
    scans = [dataclasses.asdict(outcome) for outcome in outcomes]
    write_report(path, {**facts, "seconds_total": round(time.perf_counter() - start, 3), "scans": scans})
