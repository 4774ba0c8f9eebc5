"""Embeddings of drawn regions as a table: one row for each region of each scan."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_medssl.dense.grid import FeatureGrid
from napari_medssl.errors import FormatError, GeometryError
from napari_medssl.explore.cells import Floats, space_of, vectors_of
from napari_medssl.explore.coverage import coverage
from napari_medssl.io.atomic import replacing
from napari_medssl.progress import Progress, Steps, finish
from napari_medssl.volume import Volume


@dataclass(frozen=True, eq=False)
class RegionEmbedding:
    """What the features of one drawn region of one scan are.

    scan: its file or name. sha256: hash of its content, "" when the grid does not know. value, name: of the region.
    n_voxels: drawn. volume_mm3: of these. n_cells: of the grid's cells that the region fills, parts counted as parts.
    mean, std: (C,) float32 over the cells, each weighted by the share that the region fills. space: of the grid.
    """

    scan: str
    sha256: str
    value: int
    name: str
    n_voxels: int
    volume_mm3: float
    n_cells: float
    mean: Floats
    std: Floats
    space: str


@dataclass(frozen=True, eq=False)
class RegionTable:
    """Rows of region embeddings, and sentences on regions that have none."""

    rows: tuple[RegionEmbedding, ...]
    notes: tuple[str, ...] = ()

    def __add__(self, other: RegionTable) -> RegionTable:
        return RegionTable(self.rows + other.rows, self.notes + other.notes)


def region_table(grid: FeatureGrid, regions: Volume, *, scan: str = "") -> RegionTable:
    """Embeddings of all regions drawn in one scan.

    regions: a mask or label map on any voxel grid of the same patient space; each value above 0 is a region, named by
    `regions.labels` where it is there. scan: its name; by default the file the grid was made from.

    A region beyond the grid gets a note instead of a row. Tables of several scans add up: `table_a + table_b`.
    Raises GeometryError when nothing is drawn.
    """
    return finish(region_table_steps(grid, regions, scan=scan))


def region_table_steps(grid: FeatureGrid, regions: Volume, *, scan: str = "") -> Steps[RegionTable]:
    """`region_table`, reporting after each region."""
    values, counts = np.unique(regions.data, return_counts=True)
    drawn = [(int(v), int(n)) for v, n in zip(values, counts, strict=True) if v > 0]
    if not drawn:
        raise GeometryError("nothing is drawn: the label map has no value above 0; draw at least one region")
    scan = scan or str(grid.source.get("file", ""))
    names = {label.value: label.name for label in regions.labels}
    rows, notes = [], []
    for n, (value, voxels) in enumerate(drawn):
        yield Progress(n, len(drawn), "measuring regions")
        name = names.get(value, f"region {value}")
        weights = coverage(grid, regions, value).ravel()
        cells = np.flatnonzero(weights)
        if not len(cells):
            notes.append(f"{name} of {scan or 'this scan'} lies outside the field of the features and is left out")
            continue
        mean, std = _spread(vectors_of(grid, cells), weights[cells])
        volume = voxels * regions.voxel_ml * 1000
        filled = float(weights.sum())
        sha256 = str(grid.source.get("sha256", ""))
        rows.append(RegionEmbedding(scan, sha256, value, name, voxels, volume, filled, mean, std, space_of(grid)))
    return RegionTable(tuple(rows), tuple(notes))


def write_table(path: Path, table: RegionTable) -> None:
    """Write a .csv, or with pyarrow a .parquet: one row per region, mean_0, mean_1, ... and std_0, ... per channel.

    Raises FormatError for another ending, an empty table, rows whose features cannot be compared, .parquet without
    pyarrow, or when the disk refuses.
    """
    kind = path.suffix.lower()
    if kind not in (".csv", ".parquet"):
        raise FormatError(
            f"cannot write {path.name}: region tables are kept in .csv or .parquet; call it {path.stem}.csv"
        )
    if not table.rows:
        raise FormatError(f"cannot write {path.name}: the table has no region" + "".join(f"; {n}" for n in table.notes))
    if len({row.space for row in table.rows}) > 1:
        raise FormatError(
            f"cannot write {path.name}: its rows were made with different weights or stages, so a column would mean "
            "different things; write one table for each"
        )
    columns = _columns(table.rows)
    if kind == ".csv":
        _write_csv(path, columns)
    else:
        _write_parquet(path, columns, table.rows[0].space)


def _spread(vectors: Floats, weights: Floats) -> tuple[Floats, Floats]:
    mean = np.average(vectors.astype(np.float64), axis=0, weights=weights)
    variance = np.average((vectors - mean) ** 2, axis=0, weights=weights)
    return mean.astype(np.float32), np.sqrt(variance).astype(np.float32)


def _columns(rows: Sequence[RegionEmbedding]) -> dict[str, Any]:
    columns: dict[str, Any] = {
        "scan": [r.scan for r in rows],
        "sha256": [r.sha256 for r in rows],
        "region": [r.value for r in rows],
        "name": [r.name for r in rows],
        "n_voxels": [r.n_voxels for r in rows],
        "volume_mm3": [round(r.volume_mm3, 3) for r in rows],
        "n_cells": [round(r.n_cells, 3) for r in rows],
    }
    for kind in ("mean", "std"):
        values = np.stack([getattr(r, kind) for r in rows], 1)
        columns |= {f"{kind}_{c}": values[c] for c in range(len(values))}
    return columns


def _write_csv(path: Path, columns: dict[str, Any]) -> None:
    table = io.StringIO(newline="")
    writer = csv.writer(table)
    writer.writerow(columns)
    for row in zip(*columns.values(), strict=True):
        writer.writerow([f"{v:.7g}" if isinstance(v, (float, np.floating)) else v for v in row])
    with replacing(path) as (part,):
        part.write_text(table.getvalue(), encoding="utf-8", newline="")


def _write_parquet(path: Path, columns: dict[str, Any], space: str) -> None:
    try:
        import pyarrow  # type: ignore[import-untyped]  # it has no hints
        from pyarrow import parquet
    except ImportError as error:
        raise FormatError(
            f"cannot write {path.name}: Parquet needs pyarrow; install napari-medssl[parquet] or write {path.stem}.csv"
        ) from error
    table = pyarrow.table(columns).replace_schema_metadata({"space": space})
    with replacing(path) as (part,):
        parquet.write_table(table, part)
