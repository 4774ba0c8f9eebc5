"""What became of one scan of a cohort."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

State = Literal["done", "there", "failed"]


@dataclass(frozen=True)
class Outcome:
    """What became of a case.

    state: "done" now, "there" from an earlier run with the same scan, weights and settings, or "failed".
    reason: why it failed, as a sentence; of a case that is done, why it was made again, if it was.
    seconds: from reading to the last file written. files: what was made, the report last.
    facts: what the work gave besides files, plain JSON values. notes: what had to be assumed, as sentences.
    where: the worker it ran on.
    """

    name: str
    scan: Path
    state: State
    reason: str = ""
    seconds: float = 0.0
    files: tuple[Path, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    where: str = ""
