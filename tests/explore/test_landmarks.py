"""Named points, their files and their errors."""

from __future__ import annotations

import json

import numpy as np
import pytest

from napari_medssl.errors import FormatError, SettingsError
from napari_medssl.explore.landmarks import (
    Landmarks,
    find_landmarks,
    landmark_errors,
    load_landmarks,
    save_landmarks,
)
from napari_medssl.explore.nearest import NearestSettings
from tests.explore.explored import mask_on, organ_grid, organs

SET = Landmarks(("left kidney", 'the "upper", pole'), np.array([[1.25, -2.5, 3], [4, 5, 6.125]]), "a.nii.gz")


@pytest.mark.parametrize("name", ["points.csv", "points.json"])
def test_a_set_comes_back_from_its_file(name, tmp_path):
    found = Landmarks(SET.names, SET.points_mm, "b.nii.gz", *(np.array([0.5, v], np.float32) for v in (0.25, 1, 7.5)))
    for written in (SET, found):
        save_landmarks(tmp_path / name, written)
        read = load_landmarks(tmp_path / name)
        assert read.names == written.names
        np.testing.assert_allclose(read.points_mm, written.points_mm)
        assert read.scan == ("" if name.endswith("csv") else written.scan)
        for column in ("similarity", "margin", "cycle_mm"):
            assert (getattr(read, column) is None) == (getattr(written, column) is None)
    np.testing.assert_allclose(read.cycle_mm, [0.5, 7.5])


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.csv", "name,x,y,z\nk,1,2,3\n", "no column 'r_mm'"),
        ("a.csv", "name,r_mm,a_mm,s_mm\nk,1,2\n", "landmark 1, 'k'"),
        ("a.csv", "name,r_mm,a_mm,s_mm\nk,1,2,3\nk,1,2,4\n", "'k' cannot be used; names are unique"),
        ("a.csv", "name,r_mm,a_mm,s_mm\nk,1,nan,3\n", "'k' has no place"),
        ("a.json", "[1, 2]", "no list of landmarks"),
        ("a.json", '{"landmarks": [{"name": "k", "r_mm": 1}]}', "landmark 1, 'k': 'a_mm' is missing"),
        ("a.json", "{", "holds no landmarks"),
    ],
)
def test_files_that_hold_no_landmarks_are_told(name, text, told, tmp_path):
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(FormatError, match=told):
        load_landmarks(tmp_path / name)


def test_other_endings_and_missing_files(tmp_path):
    with pytest.raises(FormatError, match="call it a.csv"):
        save_landmarks(tmp_path / "a.txt", SET)
    with pytest.raises(FormatError, match="there is no file"):
        load_landmarks(tmp_path / "a.csv")
    save_landmarks(tmp_path / "none.csv", Landmarks((), np.zeros((0, 3))))
    assert len(load_landmarks(tmp_path / "none.csv")) == 0


def test_errors_are_of_the_names_both_have():
    truth = Landmarks(("b", "left kidney"), [[0, 0, 0], [1.25, -2.5, 8]])
    assert landmark_errors(SET, truth) == {"left kidney": pytest.approx(5.0)}
    with pytest.raises(SettingsError, match="share no landmark name"):
        landmark_errors(SET, Landmarks(("x",), [[0, 0, 0]]))


def test_organs_are_found_by_name_and_the_file_keeps_how_surely(tmp_path):
    a, b = organ_grid(seed=0), organ_grid(seed=1)
    region = mask_on(a, organs())
    centres = [region.affine[:3, :3] @ np.argwhere(organs() == n).mean(0) for n in (2, 3)]
    found = find_landmarks(a, Landmarks(("two", "three"), centres), b, settings=NearestSettings(around_mm=0), scan="b")
    cells = np.round(b.index_of(found.points_mm)).astype(int)
    assert organs()[tuple(cells.T)].tolist() == [2, 3]
    save_landmarks(tmp_path / "found.json", found)
    written = json.loads((tmp_path / "found.json").read_text())
    assert written["scan"] == "b"
    assert written["landmarks"][0]["similarity"] == pytest.approx(float(found.similarity[0]), abs=1e-4)
