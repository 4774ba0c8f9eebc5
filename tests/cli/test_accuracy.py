"""`medssl accuracy` on folders of synthetic scans: tables, report, figure, going on, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from napari_medssl.bench.accuracy import Examination
from napari_medssl.cli import OK, USER_ERROR, main
from napari_medssl.io import write
from napari_medssl.volume import Volume


@pytest.fixture
def folder(tmp_path):
    """Two scans of a bright block that moves a little from slice to slice, beside a smaller grey one."""
    data = tmp_path / "scans"
    for name, shift in (("a", 0), ("b", 2)):
        labels = np.zeros((9, 40, 40), np.uint8)
        for z in range(2, 8):
            labels[z, 10 + shift : 24 + shift, 12 + z : 28 + z] = 1
            labels[z, 28:38, 2 : 10 + (z == 4)] = 2
        image = 100 + 400 * (labels == 1) + 200 * (labels == 2)
        image = image + np.random.default_rng(shift).normal(0, 10, labels.shape)
        affine = np.diag([4.0, 2.0, 2.0, 1.0])[[2, 1, 0, 3]]
        for kind, array in (("images", image.astype(np.float32)), ("labels", labels)):
            (data / kind).mkdir(exist_ok=True, parents=True)
            write(data / kind / f"{name}.nii.gz", Volume(array, affine))
    return data


def accuracy(folder, *arguments):
    return main(["accuracy", str(folder), "--weights", "none", "--quiet", *map(str, arguments)])


def test_within_measures_the_other_slices(folder, capsys, tmp_path):
    out = tmp_path / "scores.json"
    assert accuracy(folder, "--out", out) == OK
    report = json.loads(out.read_text())
    assert report["finished"] is True
    assert [(s["scan"], s["organ"]) for s in report["scores"]] == [
        (f"{scan}.nii.gz", organ) for scan in "ab" for organ in (1, 2)
    ]
    for score in report["scores"]:
        assert 0.9 < score["in_range"] <= 1
        assert 0 <= score["hd95_mm"] < 9
        assert score["surface_dice"] > 0.8
        assert len(score["labelled"]) == 1
    assert report["scores"][1]["labelled"] == [4], "the second organ's largest slice"
    mean = capsys.readouterr().out.splitlines()[4].split()
    assert mean[:2] == ["mean", "2"]
    assert float(mean[2]) == pytest.approx(np.mean([s["whole"] for s in report["scores"]]), abs=6e-4)


def test_across_takes_the_last_scan_as_support(folder, capsys, tmp_path):
    out = tmp_path / "scores.json"
    assert accuracy(folder, "--task", "across", "--out", out) == OK
    scores = json.loads(out.read_text())["scores"]
    assert {(s["scan"], s["support"], s["slices"], tuple(s["labelled"])) for s in scores} == {
        ("a.nii.gz", "b.nii.gz", 3, (3, 5, 7))
    }
    assert scores[0]["in_range"] > 0.5
    capsys.readouterr()
    assert accuracy(folder, "--task", "across", "--from", "a", "--set", "method=prototypes") == OK
    assert "organ" in capsys.readouterr().out


def test_supports_slices_and_alternatives(folder, capsys, tmp_path):
    """Everything at once: the same labels for all methods, a paired difference, a curve, a picture."""
    out, plot = tmp_path / "scores.json", tmp_path / "scores.png"
    arguments = ["--supports", "2", "--slices", "2,1", "--against", "copy,random-walker", "--out", out, "--plot", plot]
    assert accuracy(folder, *arguments) == OK
    report = json.loads(out.read_text())
    methods = ("medssl", "copy", "random-walker")
    assert len(report["scores"]) == 2 * 2 * 2 * 2 * len(methods)
    asked = {}
    for s in report["scores"]:
        asked.setdefault((s["scan"], s["organ"], s["choice"], s["slices"]), set()).add(tuple(s["labelled"]))
        assert len(s["labelled"]) == s["slices"]
    assert all(len(labelled) == 1 for labelled in asked.values()), "all methods get the same slices"
    text = capsys.readouterr().out
    for words in ("medssl, 1 labelled slice\n", "copy, 1 labelled slice\n", "paired on the same labels", "gain"):
        assert words in text
    mean = next(a for a in report["averages"] if (a["method"], a["organ"], a["slices"]) == ("medssl", "mean", 1))
    low, high = mean["whole"]["95 % over subjects and supports"]
    assert low <= mean["whole"]["mean"] <= high
    copied = [d for d in report["differences"]["whole"] if d["less"] == "copy"]
    assert [d["organ"] for d in copied] == [1, 2, "mean"]
    assert copied[0]["verdict"] == "surely ahead"
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_a_stopped_run_goes_on(folder, capsys, tmp_path, monkeypatch):
    out = tmp_path / "scores.json"
    scan_steps, seen = Examination.scan_steps, []

    def stop_at_b(self, case):
        seen.append(case.image.name)
        if case.image.name.startswith("b") and len(seen) == 2:
            raise KeyboardInterrupt
        return (yield from scan_steps(self, case))

    monkeypatch.setattr(Examination, "scan_steps", stop_at_b)
    assert accuracy(folder, "--out", out) == 130
    assert json.loads(out.read_text())["measured"] == ["a.nii.gz"]
    assert accuracy(folder, "--out", out, "--seed", 1) == USER_ERROR
    assert "not finished" in capsys.readouterr().err
    assert accuracy(folder, "--out", out) == OK
    assert seen == ["a.nii.gz", "b.nii.gz", "b.nii.gz"]
    report = json.loads(out.read_text())
    assert [s["scan"] for s in report["scores"]] == ["a.nii.gz"] * 2 + ["b.nii.gz"] * 2
    assert accuracy(folder, "--out", out) == USER_ERROR
    assert "--force" in capsys.readouterr().err


def test_a_bad_scan_is_named_and_left_out(folder, capsys, tmp_path):
    (folder / "images" / "a.nii.gz").write_bytes(b"no scan")
    out = tmp_path / "scores.json"
    assert accuracy(folder, "--out", out) == USER_ERROR
    streams = capsys.readouterr()
    assert "left out a.nii.gz" in streams.err
    assert "mean" in streams.out
    report = json.loads(out.read_text())
    assert [s["scan"] for s in report["skipped"]] == ["a.nii.gz"]
    assert {s["scan"] for s in report["scores"]} == {"b.nii.gz"}
    (folder / "images" / "b.nii.gz").write_bytes(b"no scan")
    assert accuracy(folder) == USER_ERROR
    assert "nothing could be measured" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--against", "guess"], "there is no such alternative; choose from random-walker"),
        (["--against", "random-walker", "--task", "across"], "cannot go from one scan to another"),
        (["--slices", "one"], "1,2,3"),
        (["--slices", "0,1"], "begin at 1"),
        (["--supports", "0"], "begin at 1"),
        (["--tolerance", "-1"], "positive length"),
        (["--seed", "-1"], "negative"),
        (["--from", "a"], "--task across"),
        (["--task", "across", "--from", "c"], "no two people"),
        (["--only", "c"], "no labelled scan"),
        (["--plot", "no/folder/x.png"], "does not exist"),
    ],
)
def test_what_cannot_be_asked_is_refused(folder, capsys, arguments, words):
    assert accuracy(folder, *arguments) == USER_ERROR
    assert words in capsys.readouterr().err


def test_folder_without_labels_is_refused(tmp_path, capsys):
    (tmp_path / "images").mkdir()
    assert main(["accuracy", str(tmp_path)]) == USER_ERROR
    assert str(tmp_path) in capsys.readouterr().err
