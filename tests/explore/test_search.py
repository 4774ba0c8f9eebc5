"""Similar scans of a folder."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_medssl.errors import FormatError, GeometryError, SettingsError
from napari_medssl.explore.search import ScanEmbedding, ScanIndex, embed_scan
from tests.explore.explored import organ_grid, organs


def embedding(n: int, vector: np.ndarray | None = None, **changes: object) -> ScanEmbedding:
    vector = np.random.default_rng(n).normal(2, 1, 6) if vector is None else vector
    return replace(ScanEmbedding(vector.astype(np.float32), f"{n}.nii.gz", f"{n:064d}", "mean", "space"), **changes)


def filled(count: int = 20) -> ScanIndex:
    index = ScanIndex()
    assert all(index.add(embedding(n)) for n in range(count))
    return index


def test_the_nearest_are_those_of_brute_force():
    index, query = filled(), embedding(99)
    bank = np.stack([e.vector for e in index.entries]).astype(np.float64)
    z = (bank - bank.mean(0)) / bank.std(0)
    q = (query.vector - bank.mean(0)) / bank.std(0)
    cosines = [float(v @ q / np.linalg.norm(v) / np.linalg.norm(q)) for v in z]
    expected = sorted(range(20), key=lambda n: -cosines[n])[:7]
    found = index.query(query, count=7)
    assert [m.name for m in found] == [f"{n}.nii.gz" for n in expected]
    np.testing.assert_allclose([m.similarity for m in found], np.array(cosines)[expected], atol=1e-6)


def test_the_scan_itself_is_left_out_unless_asked_for():
    index = filled(5)
    assert "3.nii.gz" not in [m.name for m in index.query(embedding(3), count=9)]
    first = index.query(embedding(3, name="a copy"), itself=True)[0]
    assert (first.name, first.similarity) == ("3.nii.gz", pytest.approx(1))


def test_a_copy_is_not_added_again_and_scans_can_go():
    index = filled(4)
    assert not index.add(embedding(2, name="copy of 2.nii.gz"))
    assert len(index) == 4
    assert f"{2:064d}" in index
    assert index.remove("2.nii.gz") == 1
    assert index.remove(f"{3:064d}") == 1
    assert [e.name for e in index.entries] == ["0.nii.gz", "1.nii.gz"]
    with pytest.raises(SettingsError, match="no scan '2.nii.gz' in the index; it has 0.nii.gz, 1.nii.gz"):
        index.remove("2.nii.gz")


def test_few_and_equal_scans_have_an_answer():
    one = filled(1)
    assert np.isfinite(one.query(embedding(7))[0].similarity)
    same = ScanIndex()
    for n in range(4):
        same.add(embedding(n, np.ones(6)))
    assert [m.similarity for m in same.query(embedding(9, np.ones(6)))] == [0, 0, 0, 0]


def test_a_file_holds_all_and_damage_is_told(tmp_path):
    index = filled(6)
    index.save(tmp_path / "i.npz")
    loaded = ScanIndex.load(tmp_path / "i.npz")
    assert loaded.query(embedding(50)) == index.query(embedding(50))
    with np.load(tmp_path / "i.npz", allow_pickle=False) as archive:
        parts = dict(archive)
    np.savez(tmp_path / "short.npz", card=parts["card"], vectors=parts["vectors"][:3])
    with pytest.raises(FormatError, match="damaged"):
        ScanIndex.load(tmp_path / "short.npz")
    with pytest.raises(SettingsError, match="no scan"):
        ScanIndex().save(tmp_path / "none.npz")


def test_other_spaces_and_empty_questions_are_refused():
    index = filled(3)
    for change in ({"space": "other"}, {"pooling": "mean+std"}):
        with pytest.raises(GeometryError, match="same weights, stages and pooling"):
            index.add(embedding(9, **change))
    with pytest.raises(GeometryError, match="no numbers"):
        index.query(embedding(9, np.full(6, np.nan)))
    with pytest.raises(SettingsError, match="add some first"):
        ScanIndex().query(embedding(1))
    with pytest.raises(SettingsError, match="count is 0"):
        index.query(embedding(1), count=0)


def test_scans_are_embedded_over_their_body():
    grid = replace(organ_grid(), source={"sha256": "c" * 64, "file": "c.nii.gz"})
    found = embed_scan(grid, organs() > 0)
    vectors = grid.vectors()[(organs() > 0).ravel()]
    np.testing.assert_allclose(found.vector, np.concatenate([vectors.mean(0), vectors.std(0)]), atol=1e-5)
    assert (found.name, found.sha256, found.pooling) == ("c.nii.gz", "c" * 64, "mean+std")
    assert len(embed_scan(grid, pooling="mean").vector) == 8
    with pytest.raises(GeometryError, match="which scan it was made from"):
        embed_scan(replace(grid, source={}))
    with pytest.raises(SettingsError, match="pooling is 'max'"):
        embed_scan(grid, pooling="max")
