"""The table of a label map: voxels, millilitres and extent of every organ, and Dice where the truth is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from napari_medssl.cli.console import Console
    from napari_medssl.volume import Volume


@dataclass(frozen=True)
class OrganRow:
    """One organ of a label map.

    first, last: slices (Z index) it begins and ends on, None when it was not found. dice: None without a truth.
    labelled: the slices that were given, left out of Dice.
    """

    value: int
    name: str
    voxels: int
    volume_ml: float
    first: int | None
    last: int | None
    dice: float | None = None
    labelled: tuple[int, ...] = ()

    def facts(self) -> dict[str, Any]:
        """The row for a report."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def organ_rows(
    labels: Volume, *, truth: np.ndarray | None = None, labelled: Mapping[int, tuple[int, ...]] | None = None
) -> tuple[OrganRow, ...]:
    """A row for every organ in `labels.labels`.

    truth: (Z, Y, X) label map of the same values. labelled: organ to the slices that were given; they don't count in
    Dice, which would otherwise praise what the user painted.
    """
    rows = []
    for organ in labels.labels:
        found = labels.data == organ.value
        slices = np.flatnonzero(found.any(axis=(1, 2)))
        voxels = int(np.count_nonzero(found))
        given = (labelled or {}).get(organ.value, ())
        score = None if truth is None else dice(found, truth == organ.value, without=given)
        first, last = (int(slices[0]), int(slices[-1])) if slices.size else (None, None)
        rows.append(OrganRow(organ.value, organ.name, voxels, voxels * labels.voxel_ml, first, last, score, given))
    return tuple(rows)


def dice(one: np.ndarray, other: np.ndarray, *, without: tuple[int, ...] = ()) -> float:
    """2 |A and B| / (|A| + |B|) over all slices but those in `without`; 1 when both are empty there."""
    keep = np.ones(len(one), bool)
    keep[list(without)] = False
    a, b = one[keep], other[keep]
    total = int(np.count_nonzero(a)) + int(np.count_nonzero(b))
    return 2.0 * int(np.count_nonzero(a & b)) / total if total else 1.0


def print_rows(console: Console, rows: tuple[OrganRow, ...], seconds: float | None = None) -> None:
    """The rows as a table, with the seconds of the whole run and mean Dice in the last line."""
    scored = [row.dice for row in rows if row.dice is not None]
    head = ["organ", "voxels", "volume ml", "slices", "seconds"] + (["Dice"] if scored else [])
    body = []
    for row in rows:
        extent = "not found" if row.first is None else f"{row.first}-{row.last}"
        cells = [row.name, str(row.voxels), f"{row.volume_ml:.1f}", extent, ""]
        body.append(cells + ([_score(row.dice)] if scored else []))
    if seconds is not None:
        mean = sum(scored) / len(scored) if scored else None
        body.append(["all", str(sum(r.voxels for r in rows)), f"{sum(r.volume_ml for r in rows):.1f}", ""])
        body[-1] += [f"{seconds:.1f}"] + ([_score(mean)] if scored else [])
    console.table(head, body)


def _score(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
