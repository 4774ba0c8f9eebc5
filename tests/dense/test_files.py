"""Grids on disk."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest

from napari_medssl.dense import zarr_file
from napari_medssl.dense.files import load_grid, save_grid
from napari_medssl.dense.folder import replacing_folder
from napari_medssl.dense.grid import FeatureGrid
from napari_medssl.dense.zarr_file import chunk_edge, new_zarr
from napari_medssl.errors import FormatError


@pytest.fixture
def grid() -> FeatureGrid:
    rng = np.random.default_rng(0)
    affine = np.array([[0, 0.1, -4, 3], [0, -4.5, 0, 7], [6, 0, 0.2, -20], [0, 0, 0, 1.0]])
    data = rng.normal(size=(5, 7, 6, 9)).astype(np.float16)
    data[:, 4:] = 0
    return FeatureGrid(data, affine, {"sha256": "ab", "shape": [1, 2, 3]}, {"name": "unet3d", "stages": [2, 3]})


@pytest.mark.parametrize("name", ["a.npz", "a.zarr"])
def test_a_grid_comes_back_as_it_was(tmp_path, grid, name, monkeypatch):
    monkeypatch.setattr(zarr_file, "_CHUNK_BYTES", 80)  # 2 x 2 x 2 cells, some of zeros: those are chunks, too
    back = load_grid(save_grid(tmp_path / name, grid))
    assert np.array_equal(np.asarray(back.data[:]), grid.data)
    assert back.data.dtype == np.float16
    assert np.array_equal(back.affine, grid.affine)
    assert back.source == grid.source
    assert back.encoder == grid.encoder
    assert back.space == grid.space
    assert np.array_equal(back.at(grid.centres_mm()[[0, 50]]), grid.at(grid.centres_mm()[[0, 50]]))
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["a.npz", "a.zarr"])
def test_a_grid_replaces_another_whole(tmp_path, grid, name):
    save_grid(tmp_path / name, grid)
    other = FeatureGrid(np.ones((2, 3, 3, 3), np.float32), np.eye(4))
    save_grid(tmp_path / name, other)
    assert load_grid(tmp_path / name).channels == 2
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_a_folder_of_something_else_is_left_alone(tmp_path, grid):
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / "thesis.docx").write_text("years of work")
    with pytest.raises(FormatError, match="holds something else"):
        save_grid(tmp_path / "a.zarr", grid)
    assert (tmp_path / "a.zarr" / "thesis.docx").exists()


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt(), GeneratorExit()])
def test_nothing_half_written_is_left(tmp_path, grid, error):
    save_grid(tmp_path / "a.zarr", grid)

    def fail():
        with new_zarr(tmp_path / "a.zarr", (5, 7, 6, 9), np.float16, {}) as array:
            array[:, :3] = 1
            raise error

    kind, told = (FormatError, "the disk is full") if isinstance(error, OSError) else (type(error), None)
    with pytest.raises(kind, match=told):
        fail()
    assert np.array_equal(load_grid(tmp_path / "a.zarr").data[:], grid.data)
    assert [p.name for p in tmp_path.iterdir()] == ["a.zarr"]


def test_a_grid_stands_when_the_old_one_cannot_make_way(tmp_path, grid, monkeypatch):
    save_grid(tmp_path / "a.zarr", grid)
    with (
        pytest.raises(FormatError, match="may not write"),
        replacing_folder(tmp_path / "a.zarr", marker=".zarray") as p,
    ):
        monkeypatch.setattr(type(p), "rename", lambda *_: (_ for _ in ()).throw(PermissionError(13, "no")))
    assert load_grid(tmp_path / "a.zarr").channels == 5


def test_damaged_foreign_and_newer_files_are_refused(tmp_path, grid):
    newer = tmp_path / "newer.npz"
    save_grid(newer, grid)
    with np.load(newer) as archive:
        data, facts = archive["data"], json.loads(str(archive["facts"]))
    np.savez(newer, data=data, facts=np.array(json.dumps({**facts, "version": 2})))
    np.savez(tmp_path / "foreign.npz", data=data)
    np.savez(tmp_path / "bare.npz", data=data, facts=np.array("{}"))
    np.savez(tmp_path / "pickle.npz", data=np.array([{}], dtype=object), facts=np.array("{}"))
    whole = save_grid(tmp_path / "cut.npz", grid).read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    with zipfile.ZipFile(tmp_path / "text.npz", "w") as archive:
        archive.writestr("data.npy", "no array")
    told = {
        "newer": "newer napari-medssl", "foreign": "holds no feature grid", "bare": "holds no feature grid",
        "pickle": "damaged", "cut": "damaged", "text": "damaged", "missing": "no such file",
    }  # fmt: skip
    for name, text in told.items():
        with pytest.raises(FormatError, match=text):
            load_grid(tmp_path / f"{name}.npz")
    with pytest.raises(FormatError, match=r"end it with \.npz or \.zarr"):
        save_grid(tmp_path / "grid.nii.gz", grid)


def test_damaged_and_foreign_folders_are_refused(tmp_path, grid):
    path = save_grid(tmp_path / "a.zarr", grid)
    next(p for p in sorted(path.iterdir()) if not p.name.startswith(".")).unlink()
    with pytest.raises(FormatError, match="chunks"):
        load_grid(path)
    (path / ".zarray").write_text("{")
    with pytest.raises(FormatError, match="damaged"):
        load_grid(path)
    (path / ".zarray").unlink()
    with pytest.raises(FormatError, match="holds no feature grid"):
        load_grid(path)
    with pytest.raises(FormatError, match="no such folder"):
        load_grid(tmp_path / "b.zarr")


def test_a_vector_lies_in_one_chunk_of_a_bearable_size(tmp_path, grid):
    array = load_grid(save_grid(tmp_path / "a.zarr", grid)).data
    assert array.chunks[0] == grid.channels
    assert [chunk_edge(c, 2) for c in (16, 64, 448, 4000)] == [32, 16, 8, 4]
