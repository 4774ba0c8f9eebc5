"""Tables of region embeddings."""

from __future__ import annotations

import csv
import sys
from dataclasses import replace

import numpy as np
import pytest

from napari_medssl.errors import FormatError, GeometryError
from napari_medssl.explore.roi import region_table, write_table
from napari_medssl.labels import Label
from tests.explore.explored import mask_on, oblique, organ_grid, organs


def table_of(seed: int = 0, **facts: object):
    grid = replace(organ_grid(seed=seed, affine=oblique()), source={"file": f"{seed}.nii.gz", "sha256": f"{seed}" * 64})
    grid = replace(grid, encoder={**grid.encoder, **facts})
    return grid, region_table(grid, replace(mask_on(grid, organs()), labels=(Label(2, "left, kidney", (1, 2, 3)),)))


def test_rows_are_means_and_deviations_of_their_cells():
    grid, table = table_of()
    assert [(r.value, r.name) for r in table.rows] == [(1, "region 1"), (2, "left, kidney"), (3, "region 3")]
    row, inside = table.rows[1], organs() == 2
    np.testing.assert_allclose(row.mean, grid.data[:, inside].mean(1), atol=1e-4)
    np.testing.assert_allclose(row.std, grid.data[:, inside].std(1), atol=1e-4)
    assert (row.n_voxels, row.n_cells) == (inside.sum(), pytest.approx(inside.sum()))
    assert row.volume_mm3 == pytest.approx(inside.sum() * 24)
    assert (row.scan, row.sha256[:3]) == ("0.nii.gz", "000")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_table_of_two_scans_comes_back_from_its_file(kind, tmp_path):
    table = table_of(0)[1] + table_of(1)[1]
    path = tmp_path / f"t.{kind}"
    write_table(path, table)
    if kind == "csv":
        with path.open(newline="", encoding="utf-8") as handle:
            rows = list(csv.DictReader(handle))
    else:
        rows = pytest.importorskip("pyarrow.parquet").read_table(path).to_pylist()
    assert [(r["scan"], r["name"]) for r in rows][1::3] == [("0.nii.gz", "left, kidney"), ("1.nii.gz", "left, kidney")]
    assert len(rows[0]) == 7 + 2 * 8
    for row, ours in zip(rows, table.rows, strict=True):
        np.testing.assert_allclose([float(row[f"mean_{c}"]) for c in range(8)], ours.mean, rtol=1e-5)
        np.testing.assert_allclose([float(row[f"std_{c}"]) for c in range(8)], ours.std, rtol=1e-5)


def test_regions_beyond_the_grid_are_noted():
    grid = organ_grid()
    far = mask_on(grid, organs())
    affine = far.affine.copy()
    affine[0, 3] = 1e4
    table = region_table(grid, replace(far, affine=affine), scan="x")
    assert table.rows == ()
    assert table.notes[0] == "region 1 of x lies outside the field of the features and is left out"
    with pytest.raises(GeometryError, match="nothing is drawn"):
        region_table(grid, mask_on(grid, np.zeros(grid.shape)))


def test_what_cannot_be_written_is_told(tmp_path, monkeypatch):
    _, table = table_of()
    with pytest.raises(FormatError, match="call it t.csv"):
        write_table(tmp_path / "t.xlsx", table)
    with pytest.raises(FormatError, match="no region"):
        write_table(tmp_path / "t.csv", replace(table, rows=()))
    with pytest.raises(FormatError, match="different weights or stages"):
        write_table(tmp_path / "t.csv", table + table_of(1, stages=[2])[1])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(FormatError, match=r"install napari-medssl\[parquet\] or write t.csv"):
        write_table(tmp_path / "t.parquet", table)
    assert not list(tmp_path.iterdir())
