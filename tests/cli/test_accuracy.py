"""Dice of labelled folders, against what the protocol says."""

from __future__ import annotations

import json

import numpy as np
import pytest

from napari_medssl.bench.accuracy import Score, dice, organs_of, three_slices
from napari_medssl.cli import OK, USER_ERROR, main
from napari_medssl.cli.accuracy import table
from napari_medssl.io import write
from napari_medssl.volume import Volume


@pytest.fixture
def folder(tmp_path):
    """Two scans of a bright block that moves a little from slice to slice."""
    for name, shift in (("a", 0), ("b", 2)):
        labels = np.zeros((9, 40, 40), np.uint8)
        for z in range(2, 8):
            labels[z, 10 + shift : 24 + shift, 12 + z : 28 + z] = 1
        image = 100 + 400 * labels.astype(np.float32) + np.random.default_rng(shift).normal(0, 10, labels.shape)
        affine = np.diag([4.0, 2.0, 2.0, 1.0])[[2, 1, 0, 3]]
        for kind, data in (("images", image.astype(np.float32)), ("labels", labels)):
            (tmp_path / kind).mkdir(exist_ok=True)
            write(tmp_path / kind / f"{name}.nii.gz", Volume(data, affine))
    return tmp_path


def test_parts_of_the_protocol():
    organ = np.zeros((20, 4, 4), bool)
    organ[3:13] = True
    assert three_slices(organ) == [5, 8, 11]
    assert dice(organ, organ) == 1.0
    assert np.isnan(dice(~organ & organ, ~organ & organ))
    assert organs_of(np.where(organ, 2, 0)) == []  # 160 voxels are too few


def test_within_measures_the_other_slices(folder, capsys):
    out = folder / "scores.json"
    code = main(["accuracy", str(folder), "--weights", "none", "--out", str(out), "--quiet"])
    assert code == OK
    scores = json.loads(out.read_text())["scores"]
    assert [s["scan"] for s in scores] == ["a.nii.gz", "b.nii.gz"]
    assert all(0.9 < s["in_range"] <= 1 for s in scores)
    assert "mean" in capsys.readouterr().out


def test_across_takes_the_last_scan_as_support(folder, capsys):
    assert main(["accuracy", str(folder), "--task", "across", "--weights", "none", "--quiet"]) == OK
    mean = capsys.readouterr().out.splitlines()[-1].split()
    assert mean[:2] == ["mean", "1"]
    assert float(mean[3]) > 0.5


def test_mean_counts_organs_equally():
    scores = [Score("a", 1, 1.0, 1.0, 1.0), Score("b", 1, 0.5, 0.5, 1.0), Score("a", 2, 0.25, 0.25, 1.0)]
    assert table(scores)[-1][:4] == ("mean", "2", "0.500", "0.500")


def test_folder_without_labels_is_refused(tmp_path, capsys):
    (tmp_path / "images").mkdir()
    assert main(["accuracy", str(tmp_path)]) == USER_ERROR
    assert str(tmp_path) in capsys.readouterr().err
