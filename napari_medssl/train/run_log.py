"""The numbers of a run as a CSV file, consistent with the state that a resumed run goes on from."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from napari_medssl.io.atomic import replacing


class RunLog:
    """A CSV file of rows that begin with their step.

    Rows after `step` are of a part that was lost when the run was interrupted, and are dropped.
    """

    def __init__(self, path: Path, columns: Sequence[str], *, step: int) -> None:
        self._path = path
        kept = [row for row in _rows(path) if int(row[0]) <= step] if step else []
        with replacing(path) as (part,), part.open("w", newline="") as f:
            csv.writer(f).writerows([list(columns), *kept])

    def add(self, step: int, values: Sequence[float]) -> None:
        """One row; numbers are kept to six significant digits."""
        with self._path.open("a", newline="") as f:
            csv.writer(f).writerow([step, *(f"{v:.6g}" for v in values)])


def _rows(path: Path) -> list[list[str]]:
    if not path.is_file():
        return []
    with path.open(newline="") as f:
        return [row for row in csv.reader(f) if row and row[0].isdigit()]
