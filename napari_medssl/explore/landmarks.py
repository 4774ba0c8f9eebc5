"""Named points: placed in one scan, found in others, kept in a table."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_medssl.dense.grid import FeatureGrid
from napari_medssl.errors import FormatError, SettingsError
from napari_medssl.explore.cells import Floats
from napari_medssl.explore.nearest import Correspondences, NearestSettings, nearest_points_steps
from napari_medssl.explore.similarity import SimilarityIndex
from napari_medssl.io.atomic import replacing
from napari_medssl.progress import Steps, finish
from napari_medssl.volume import Affine

_COLUMNS = ("name", "r_mm", "a_mm", "s_mm")
_FOUND = ("similarity", "margin", "cycle_mm")


@dataclass(frozen=True, eq=False)
class Landmarks:
    """Points with names in one scan.

    names: N, all different. points_mm: (N, 3) RAS. scan: the file or name of the scan. similarity, margin, cycle_mm:
    (N,) each as in `Correspondences`, for found ones; None for placed ones.

    Raises SettingsError for empty or repeated names, a missing point or one that is no number.
    """

    names: tuple[str, ...]
    points_mm: npt.NDArray[np.float64]
    scan: str = ""
    similarity: Floats | None = None
    margin: Floats | None = None
    cycle_mm: Floats | None = None

    def __post_init__(self) -> None:
        points = np.asarray(self.points_mm, np.float64).reshape(-1, 3)
        object.__setattr__(self, "names", tuple(self.names))
        object.__setattr__(self, "points_mm", points)
        if len(points) != len(self.names):
            raise SettingsError(f"{len(self.names)} names for {len(points)} points; give each landmark one of each")
        repeated = sorted({n for n in self.names if self.names.count(n) > 1})
        if repeated or not all(n.strip() for n in self.names):
            raise SettingsError(
                f"the landmark name {(repeated or [''])[0]!r} cannot be used; names are unique and not empty"
            )
        if not np.isfinite(points).all():
            bad = self.names[int(np.flatnonzero(~np.isfinite(points).all(1))[0])]
            raise SettingsError(f"the landmark {bad!r} has no place; its coordinates must be numbers in mm")

    def __len__(self) -> int:
        return len(self.names)


def find_landmarks(
    a: FeatureGrid | SimilarityIndex,
    landmarks: Landmarks,
    b: FeatureGrid | SimilarityIndex,
    *,
    place: Affine | None = None,
    settings: NearestSettings | None = None,
    scan: str = "",
) -> Landmarks:
    """The landmarks of scan A in scan B, with how sure each is; see `nearest_points`. scan: the name of B."""
    return finish(find_landmarks_steps(a, landmarks, b, place=place, settings=settings, scan=scan))


def find_landmarks_steps(
    a: FeatureGrid | SimilarityIndex,
    landmarks: Landmarks,
    b: FeatureGrid | SimilarityIndex,
    *,
    place: Affine | None = None,
    settings: NearestSettings | None = None,
    scan: str = "",
) -> Steps[Landmarks]:
    """`find_landmarks`, reporting after each block of points."""
    found: Correspondences = yield from nearest_points_steps(a, landmarks.points_mm, b, place=place, settings=settings)
    return Landmarks(landmarks.names, found.points_mm, scan, found.similarity, found.margin, found.cycle_mm)


def landmark_errors(found: Landmarks, truth: Landmarks) -> dict[str, float]:
    """Distance in mm for each name that both have, in the order of `found`.

    Raises SettingsError when they share no name.
    """
    places = dict(zip(truth.names, truth.points_mm, strict=True))
    errors = {
        n: float(np.linalg.norm(p - places[n]))
        for n, p in zip(found.names, found.points_mm, strict=True)
        if n in places
    }
    if not errors:
        raise SettingsError(
            "the two sets share no landmark name, so there is nothing to compare; use the same names in both"
        )
    return errors


def save_landmarks(path: Path, landmarks: Landmarks) -> None:
    """Write a table: .csv with name, r_mm, a_mm, s_mm (and similarity, margin, cycle_mm), or .json, also with the scan.

    Raises FormatError for another ending or when the disk refuses.
    """
    kind = path.suffix.lower()
    if kind not in (".csv", ".json"):
        raise FormatError(f"cannot write {path.name}: landmarks are kept in .csv or .json; call it {path.stem}.csv")
    rows = _rows(landmarks)
    if kind == ".json":
        text = json.dumps({"format": "napari-medssl landmarks", "scan": landmarks.scan, "landmarks": rows}, indent=1)
    else:
        table = io.StringIO(newline="")
        writer = csv.DictWriter(table, list(rows[0]) if rows else list(_COLUMNS))
        writer.writeheader()
        writer.writerows(rows)
        text = table.getvalue()
    with replacing(path) as (part,):
        part.write_text(text, encoding="utf-8", newline="")


def load_landmarks(path: Path) -> Landmarks:
    """A set that `save_landmarks` wrote, or any CSV with these columns.

    Raises FormatError naming the first line or entry that cannot be used.
    """
    if not path.is_file():
        raise FormatError(f"there is no file {path}; give an existing .csv or .json of landmarks")
    try:
        text = path.read_text(encoding="utf-8-sig")
        scan, rows = _from_json(text) if path.suffix.lower() == ".json" else ("", _from_csv(text))
        return _read(rows, scan)
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise FormatError(
            f"{path} holds no landmarks ({_told(error)}); a table needs name, r_mm, a_mm, s_mm"
        ) from error
    except SettingsError as error:
        raise FormatError(f"{path}: {error}") from error


def _rows(landmarks: Landmarks) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [
        dict(zip(_COLUMNS, (name, *(round(float(v), 4) for v in point)), strict=True))
        for name, point in zip(landmarks.names, landmarks.points_mm, strict=True)
    ]
    for column in _FOUND:
        values = getattr(landmarks, column)
        for row, value in zip(rows, () if values is None else values, strict=False):
            row[column] = round(float(value), 4)
    return rows


def _from_json(text: str) -> tuple[str, list[dict[str, Any]]]:
    content = json.loads(text)
    if not isinstance(content, dict) or not isinstance(content.get("landmarks"), list):
        raise ValueError("no list of landmarks")
    return str(content.get("scan", "")), content["landmarks"]


def _from_csv(text: str) -> list[dict[str, Any]]:
    reader = csv.DictReader(io.StringIO(text))
    missing = [c for c in _COLUMNS if c not in (reader.fieldnames or ())]
    if missing:
        raise ValueError(f"no column {missing[0]!r}")
    return list(reader)


def _read(rows: Sequence[dict[str, Any]], scan: str) -> Landmarks:
    points = []
    for number, row in enumerate(rows, 1):
        try:
            points.append([float(row[c]) for c in _COLUMNS[1:]])
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"landmark {number}, {row.get('name')!r}: {_told(error)}") from error
    extra = {
        c: np.array([float(r[c]) for r in rows], np.float32)
        for c in _FOUND
        if rows and all(r.get(c) not in (None, "") for r in rows)
    }
    return Landmarks(tuple(str(r["name"]) for r in rows), np.array(points, np.float64), scan, **extra)


def _told(error: Exception) -> str:
    return f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
