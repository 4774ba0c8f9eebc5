"""Long work as generators: each yield is a progress report and a point where the caller may stop."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Progress:
    """How far a piece of work is.

    done, total: counts of the same unit (slices, organs, batches); `total` 0 means unknown.
    label: what is being done, for people; a new label begins a new stage.
    note: numbers of the moment, such as a loss.
    """

    done: int
    total: int
    label: str
    note: str = ""

    @property
    def fraction(self) -> float:
        """Share done in [0, 1]; 0 while the total is unknown."""
        return min(1.0, self.done / self.total) if self.total else 0.0


Steps = Generator[Progress, None, T]


def reporting(steps: Steps[T], see: Callable[[Progress], Progress | None]) -> Steps[T]:
    """The same work with its reports as `see` gives them; None keeps a report back.

    What `see` raises ends the work, and so does closing: `steps` is closed in any case, so that it can save and free.
    """
    try:
        while True:
            try:
                progress = next(steps)
            except StopIteration as stop:
                result: T = stop.value
                return result
            shown = see(progress)
            if shown is not None:
                yield shown
    finally:
        steps.close()


def finish(steps: Steps[T], report: Callable[[Progress], None] | None = None) -> T:
    """Run `steps` to the end, hand every report to `report`, and give what the work returns."""
    while True:
        try:
            progress = next(steps)
        except StopIteration as stop:
            result: T = stop.value
            return result
        if report is not None:
            report(progress)
