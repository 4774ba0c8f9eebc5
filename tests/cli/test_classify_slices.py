"""`medssl classify slices`: from marks on disk to a head, from a head to a table of slices and their findings."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from napari_medssl import Volume, cli, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three labelled scans: a bright square on slices 3 to 6."""
    for name in ("images", "labels"):
        (tmp_path / "set" / name).mkdir(parents=True)
    affine = np.array([[0, 0, -2.0, 30], [0, -2.0, 0, 30], [6.0, 0, 0, 0], [0, 0, 0, 1]])
    for i in range(3):
        rng = np.random.default_rng(i)
        data = rng.normal(20, 2, (12, 32, 32)).astype(np.float32)
        data[:, 4:28, 4:28] += 60
        mask = np.zeros(data.shape, np.uint8)
        mask[3:7, 10:20, 8:18] = 1
        data[mask > 0] += 90
        volume = Volume(data, affine)
        write(tmp_path / "set" / "images" / f"person_{i}.nii.gz", volume)
        write(tmp_path / "set" / "labels" / f"person_{i}.nii.gz", volume.like(mask))
    return tmp_path / "set"


def run(*words: object) -> int:
    return cli.main(["classify", "slices", *map(str, words), "-q"])


def test_learn_from_label_maps_and_score(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    head = tmp_path / "square"
    scan = folder / "images" / "person_2.nii.gz"
    assert run("learn", folder, "--only", "person_0", "--only", "person_1", "--more", scan, "--out", head,
               "--weights", "none") == 0  # fmt: skip
    assert "learned 1 from 24 slices and 0 exams of 3 scans" in capsys.readouterr().out
    out, report = tmp_path / "scores.csv", tmp_path / "scores.json"
    assert run("score", head, scan, "--out", out, "--json", report, "--weights", "none") == 0
    with out.open(newline="") as f:
        rows = list(csv.DictReader(f))
    assert [int(r["slice"]) for r in rows] == list(range(12))
    by_score = sorted(rows, key=lambda r: -float(r["1"]))
    assert {int(r["slice"]) for r in by_score[:4]} == {3, 4, 5, 6}
    facts = json.loads(report.read_text())
    found = facts["scans"][str(scan)]["findings"]
    assert found[0]["name"] == "1"
    assert 3 <= found[0]["peak"] <= 6
    assert facts["encoder"]["weights"] == "none"


def test_learn_from_a_table(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "marks.csv"
    lines = ["file,slice,square", *(f"person_0.nii.gz,{z},{int(3 <= z < 7)}" for z in (0, 1, 3, 4, 6, 9, 10))]
    table.write_text("\n".join(lines) + "\n")
    words = ("learn", table, "--images", folder / "images", "--out", tmp_path / "head.safetensors", "--weights", "none")
    assert run(*words) == 0
    assert json.loads((tmp_path / "head.json").read_text())["classes"] == ["square"]
    assert run(*words) == 1
    assert "exists already" in capsys.readouterr().err
    assert run("score", tmp_path / "head", folder / "images" / "person_1.nii.gz", "--weights", "none") == 0
    assert "square" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["file,slice,square", "person_0.nii.gz,1,1", "person_0.nii.gz,2,1"], "is on every marked slice"),
        (["file,slice,square", "person_0.nii.gz,1,1", "person_0.nii.gz,40,0"], "slice 40 of"),
        (["file,slice,square", "person_9.nii.gz,1,1"], "line 2"),
    ],
)
def test_wrong_tables(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], lines: list[str], words: str
) -> None:
    (tmp_path / "marks.csv").write_text("\n".join(lines) + "\n")
    words_given = ("--images", folder / "images", "--out", tmp_path / "h", "--weights", "none")
    code = run("learn", tmp_path / "marks.csv", *words_given)
    assert code == 1
    assert words in capsys.readouterr().err
    assert not (tmp_path / "h.safetensors").exists()


def test_another_encoder_is_refused(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("learn", folder, "--out", tmp_path / "h", "--weights", "none") == 0
    assert run("score", tmp_path / "h", folder / "images" / "person_0.nii.gz") == 1
    error = capsys.readouterr().err
    assert "the head h.safetensors was learned on the encoder 'feature-bank'" in error
    assert "with the weights default" in error


def test_benchmark(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "measured"
    settings = ("subjects=1,2", "repeats=1", "slices_per_scan=0", "ten=1", "scratch=false")
    words = [w for s in settings for w in ("--set", s)]
    assert run("benchmark", folder, "--weights", "none", "--out", out, *words) == 0
    rows = json.loads((out / "slices.json").read_text())["rows"]
    people = {(r["source"], r["learned_from"]): r["auc"] for r in rows if r["task"] == "people"}
    assert people["trained weights", "2 people"] > 0.9
    assert ("by hand", "1 person") in people
    assert (out / "slices.md").read_text().count("\n") == len(rows) + 2
    assert run("benchmark", folder, "--weights", "none", "--set", "subjects=3", "--set", "scratch=false") == 1
    assert "some must be left to test" in capsys.readouterr().err
