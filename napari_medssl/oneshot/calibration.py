"""The fitted numbers behind the confidence, and which of them belong to a result."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_medssl.errors import FormatError
from napari_medssl.io.atomic import replacing

FORMAT = 1
ROUTES = ("within", "across")
"""Labelled slices in the scan itself, or in another scan only."""
COUNTS = {"voxel": 11, "slice_with": 6, "slice_without": 7, "missed": 7}
"""The lines, and how many numbers each has (see oneshot/confidence)."""
_RESOURCE = "calibration.json"


@dataclass(frozen=True, eq=False)
class Calibration:
    """Coefficients of one route with one set of weights; None: not fitted, the method's own probability stands.

    voxel: (11,) log-odds of the organ at a voxel. slice_with, slice_without: (6,), (7,) log-odds of the Dice of a slice
    that has the organ, or has not. missed: (7,) of the area missed on the latter, as a share of the organ's end.
    origin: what they were fitted for, for people.
    """

    voxel: npt.NDArray[np.float64] | None = None
    slice_with: npt.NDArray[np.float64] | None = None
    slice_without: npt.NDArray[np.float64] | None = None
    missed: npt.NDArray[np.float64] | None = None
    origin: str = "not calibrated"


def calibration_for(report: Mapping[str, Any], *, within: bool) -> Calibration:
    """The numbers for a result with this report.

    Those fitted with the very weights (by their hash) on this route; else those of the default weights on it: what
    distance and edges do is alike for all weights, and better than no calibration (`origin` then says so).
    """
    route = ROUTES[0] if within else ROUTES[1]
    weights = report.get("weights")
    sha256 = str(weights.get("sha256", "")) if isinstance(weights, Mapping) else ""
    entries = [e for e in _shipped() if e["route"] == route]
    exact = [e for e in entries if e["weights"] == sha256]
    if exact:
        return _calibration(exact[-1], f"fitted for these weights on {exact[-1]['scans']} scans")
    if entries:
        return _calibration(entries[-1], "fitted for other weights")
    return Calibration()


def read_calibrations(path: Path) -> list[dict[str, Any]]:
    """The entries of a file of fitted numbers. Raises FormatError for anything else."""
    try:
        return checked(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise FormatError(f"cannot read the calibration {path}: {error.strerror}") from error
    except ValueError as error:
        raise FormatError(
            f"{path} is no calibration ({error}); fit one with medssl simulate --what calibration"
        ) from error


def checked(content: Any) -> list[dict[str, Any]]:
    """The entries of the content of such a file. Raises ValueError saying what is wrong with it."""
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"it must be an object with format {FORMAT}")
    entries = content.get("entries")
    if not isinstance(entries, list):
        raise ValueError("it has no list of entries")
    for entry in entries:
        if not isinstance(entry, dict) or entry.get("route") not in ROUTES or not isinstance(entry.get("weights"), str):
            raise ValueError("an entry names no weights or none of the routes within and across")
        for name, count in COUNTS.items():
            _numbers(entry, name, count)
        if not isinstance(entry.get("scans"), int):
            raise ValueError("an entry does not say on how many scans it was fitted")
    return entries


def write_calibrations(path: Path, entries: list[dict[str, Any]]) -> None:
    """Write a file of fitted numbers, whole or not at all. Raises FormatError when it cannot be written."""
    content = {"format": FORMAT, "entries": checked({"format": FORMAT, "entries": entries})}
    with replacing(path) as (part,):
        part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def with_entry(entries: list[dict[str, Any]], new: dict[str, Any]) -> list[dict[str, Any]]:
    """The entries with a new one at the end, instead of one for the same weights and route."""
    same = ("weights", "route")
    return [e for e in entries if any(e[key] != new[key] for key in same)] + [new]


def of_entry(entry: Mapping[str, Any]) -> Calibration:
    """The numbers of an entry of a file."""
    return _calibration(entry, f"fitted on {entry['scans']} scans")


@cache
def _shipped() -> tuple[dict[str, Any], ...]:
    text = resources.files("napari_medssl.oneshot").joinpath(_RESOURCE).read_text(encoding="utf-8")
    return tuple(checked(json.loads(text)))


def _calibration(entry: Mapping[str, Any], origin: str) -> Calibration:
    return Calibration(**{name: _numbers(entry, name, count) for name, count in COUNTS.items()}, origin=origin)


def _numbers(entry: Mapping[str, Any], name: str, count: int) -> npt.NDArray[np.float64]:
    try:
        numbers = np.array(entry.get(name), np.float64)
    except (TypeError, ValueError):
        numbers = np.empty(0)
    if numbers.shape != (count,) or not np.isfinite(numbers).all():
        raise ValueError(f"{name} must be {count} numbers")
    return numbers
