"""Product: one vector for each scan and each of its regions; joined, a table and an index of similar scans."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_medssl.explore._npz import load_arrays, save_arrays
from napari_medssl.explore.body import body_cells
from napari_medssl.explore.cohort.case import Case
from napari_medssl.explore.cohort.extraction import Extraction, grid_facts
from napari_medssl.explore.cohort.outcome import Outcome
from napari_medssl.explore.roi import RegionEmbedding, RegionTable, region_table_steps
from napari_medssl.explore.search import ScanEmbedding, ScanIndex, embed_scan
from napari_medssl.geometry import align_to
from napari_medssl.io import read
from napari_medssl.progress import Steps
from napari_medssl.volume import Volume

if TYPE_CHECKING:
    from napari_medssl.dense.grid import FeatureGrid
    from napari_medssl.engine import Engine

WHOLE = "whole scan"
_KIND = "embedding of a scan"
_FACTS = ("scan", "sha256", "value", "name", "n_voxels", "volume_mm3", "n_cells", "space")


@dataclass(frozen=True)
class Embeddings:
    """`NAME.embedding.npz`: mean and standard deviation of the features of the body, and of each labelled region."""

    extraction: Extraction = field(default_factory=Extraction)

    def files(self, case: Case) -> tuple[str, ...]:
        """The vectors."""
        return (f"{case.name}.embedding.npz",)

    def depends_on(self, case: Case, engine: Engine) -> dict[str, Any]:
        """Weights, settings, and content and names of the regions."""
        regions = None
        if case.regions is not None:
            mask = read(case.regions, labels=True)
            regions = [mask.content_hash, [label.name for label in mask.labels]]
        return {"what": "embedding", **self.extraction.depends_on(engine), "regions": regions}

    def make_steps(self, case: Case, volume: Volume, engine: Engine, folder: Path) -> Steps[dict[str, Any]]:
        """Extract and average."""
        mask = None if case.regions is None else align_to(read(case.regions, labels=True), volume)
        grid = yield from self.extraction.scratch_steps(volume, engine, folder)
        table = RegionTable((_whole(case, volume, grid),))
        if mask is not None:
            table += yield from region_table_steps(grid, mask, scan=case.name)
        (name,) = self.files(case)
        _save_rows(folder / name, table)
        facts = grid_facts(grid)
        regions = f"{len(table.rows) - 1} regions, " if mask is not None else ""
        summary = f"{regions}{grid.channels} channels"
        return {**facts, "rows": len(table.rows), "summary": summary, "notes": [*facts["notes"], *table.notes]}


def _whole(case: Case, volume: Volume, grid: FeatureGrid) -> RegionEmbedding:
    """The row of a scan as a whole: value 0, its voxels, and the cells of the body."""
    body = body_cells(grid, volume)
    vector = embed_scan(grid, body, name=case.name, pooling="mean+std")
    mean, std = np.split(vector.vector, 2)
    voxels = int(np.prod(volume.shape))
    mm3 = voxels * volume.voxel_ml * 1000
    return RegionEmbedding(case.name, vector.sha256, 0, WHOLE, voxels, mm3, float(body.sum()), mean, std, vector.space)


def _save_rows(path: Path, table: RegionTable) -> None:
    arrays = {kind: np.stack([getattr(row, kind) for row in table.rows]) for kind in ("mean", "std")}
    rows = [{name: getattr(row, name) for name in _FACTS} for row in table.rows]
    save_arrays(path, _KIND, arrays, {"rows": rows, "notes": list(table.notes)})


def load_rows(path: Path) -> RegionTable:
    """The rows of one scan, its whole first. Raises FormatError for another or damaged file."""
    arrays, card = load_arrays(path, _KIND, ("mean", "std"))
    vectors = zip(arrays["mean"], arrays["std"], card["rows"], strict=True)
    rows = tuple(RegionEmbedding(**facts, mean=mean, std=std) for mean, std, facts in vectors)
    return RegionTable(rows, tuple(card["notes"]))


def joined_table(outcomes: Iterable[Outcome]) -> RegionTable:
    """The rows of all scans that are done, in their order."""
    table = RegionTable(())
    for outcome in outcomes:
        if outcome.state != "failed":
            table += load_rows(outcome.files[0])
    return table


def joined_index(outcomes: Iterable[Outcome], index: ScanIndex | None = None) -> ScanIndex:
    """The scans that are done, called by their paths, added to an index or in a new one.

    A scan whose file has changed takes the place of what was there under its path. Raises GeometryError when the
    index was made with other weights.
    """
    found = index or ScanIndex()
    for outcome in outcomes:
        if outcome.state == "failed":
            continue
        row = load_rows(outcome.files[0]).rows[0]
        name = str(outcome.scan)
        if any(entry.name == name and entry.sha256 != row.sha256 for entry in found.entries):
            found.remove(name)
        found.add(ScanEmbedding(np.concatenate([row.mean, row.std]), name, row.sha256, "mean+std", row.space))
    return found
