"""The numbers of a run as a table on disk, consistent with the state that a resumed run goes on from."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from napari_medssl.errors import FormatError
from napari_medssl.io.atomic import replacing


class Curves:
    """A CSV file: a row per logged step, a column per value, empty where a step did not measure it.

    Rows after `step` belong to a part that was lost when the run was interrupted, and are dropped.
    """

    def __init__(self, path: Path, *, step: int) -> None:
        self._path = path
        self._rows = {s: values for s, values in read_curves(path).items() if s <= step} if step else {}
        self._names = _names(self._rows)
        self._rewrite()

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """The values of a step, kept to seven significant digits. Raises FormatError when the disk refuses."""
        self._rows[step] = dict(values)
        if set(values) <= set(self._names):
            try:
                with self._path.open("a", newline="") as f:
                    csv.writer(f).writerow(self._row(step))
            except OSError as error:
                raise FormatError(
                    f"cannot write {self._path}: {error.strerror}; free some space, then go on"
                ) from error
            return
        self._names = _names(self._rows)
        self._rewrite()

    def _row(self, step: int) -> list[str]:
        values = self._rows[step]
        return [str(step), *(f"{values[n]:.7g}" if n in values else "" for n in self._names)]

    def _rewrite(self) -> None:
        with replacing(self._path) as (part,), part.open("w", newline="") as f:
            csv.writer(f).writerows([["step", *self._names], *(self._row(s) for s in self._rows)])


def read_curves(path: Path) -> dict[int, dict[str, float]]:
    """Step to the values logged there, in order; empty when there is no file. A row cut short is left out."""
    if not path.is_file():
        return {}
    with path.open(newline="") as f:
        header, *rows = list(csv.reader(f)) or [[]]
    whole = [row for row in rows if len(row) == len(header) and row[0].isdigit()]
    return {int(row[0]): {n: float(v) for n, v in zip(header[1:], row[1:], strict=True) if v} for row in whole}


def _names(rows: Mapping[int, Mapping[str, float]]) -> list[str]:
    return list(dict.fromkeys(name for values in rows.values() for name in values))
