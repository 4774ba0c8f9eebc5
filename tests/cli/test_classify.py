"""`medssl classify` as a user meets it: train, score, judge, and what is said when something is wrong."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from napari_medssl.cli import main
from napari_medssl.io import read, write
from napari_medssl.settings import to_dict
from napari_medssl.volume import Volume
from tests.classify.exams.planted import TINY, plant


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two planes of 32 exams, a table, and the settings of a tiny classifier."""
    root = tmp_path_factory.mktemp("classify")
    exams = plant(root / "scans", count=32, planes=("axial", "sagittal"))
    rows = ["file,exam,plane,subject,ring"]
    rows += [
        f"{p}/{f.name},{e.name},{p},{e.person},{int(e.values[0])}" for e in exams.exams for p, f in e.planes.items()
    ]
    (root / "labels.csv").write_text("\n".join(rows))
    (root / "tiny.json").write_text(json.dumps(to_dict(TINY)))
    return root


@pytest.fixture(scope="module")
def head(folder: Path) -> Path:
    out = folder / "head"
    command = ["classify", "train", str(folder / "labels.csv"), "--images", str(folder / "scans"), "--out", str(out)]
    command += ["--weights", "first", "--settings", str(folder / "tiny.json"), "--no-scratch", "-q"]
    assert main([*command, "--device", "cpu"]) == 0
    return out


def test_train_writes_a_classifier_and_its_test(head: Path) -> None:
    facts = json.loads((head / "head.json").read_text())
    assert facts["labels"] == ["ring"]
    assert facts["planes"] == ["axial", "sagittal"]
    (tested,) = facts["card"]["test"].values()
    auc = tested["labels"]["ring"]["auc"]
    assert auc["value"] > 0.8
    assert auc["interval"] == "95 % over patients"
    assert (head / "test.png").is_file()
    assert not (head / "state").exists()


def test_predict_scores_exams_of_two_planes(head: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scans = [str(folder / "scans" / plane / f"{n:03d}.npy") for n in (0, 1) for plane in ("axial", "sagittal")]
    table = folder / "scores.csv"
    assert main(["classify", "predict", str(head), *scans, "--out", str(table), "--device", "cpu"]) == 0
    with table.open() as f:
        rows = list(csv.DictReader(f))
    assert [r["exam"] for r in rows] == ["000", "001"]
    assert float(rows[1]["ring"]) > float(rows[0]["ring"])
    assert all(0 <= float(r["ring sagittal"]) <= 1 for r in rows)
    assert "1 mm was taken" in (folder / "scores.report.json").read_text()
    capsys.readouterr()
    assert main(["classify", "predict", str(head), scans[0], "--device", "cpu"]) == 0
    assert "no sagittal scan" in capsys.readouterr().err
    assert main(["classify", "predict", str(head), *scans, "--out", str(table), "--device", "cpu"]) == 1
    assert "--force" in capsys.readouterr().err


def test_maps_lie_on_the_scan(head: Path, folder: Path, tmp_path: Path) -> None:
    """A ring on three of five slices: evidence is on the file's own grid, and strongest where the ring is."""
    rng = np.random.default_rng(3)
    slices = rng.normal(90, 15, (5, 32, 32))
    slices[:, 4:28, 4:28] += 40
    rows, columns = np.mgrid[:32, :32]
    far = np.hypot(rows - 12, columns - 20)
    slices[1:4, (far > 2.5) & (far < 5.5)] += 110
    affine = np.array([[0, 0, -1.0, 10], [0, -1.0, 0, 12], [4.0, 0, 0, -7], [0, 0, 0, 1]])
    write(tmp_path / "scan.nii.gz", Volume(slices.clip(0, 255).astype(np.float32), affine))
    command = ["classify", "predict", str(head), f"axial={tmp_path / 'scan.nii.gz'}", "--cam", str(tmp_path / "maps")]
    assert main([*command, "--device", "cpu", "-q"]) == 0
    found = read(tmp_path / "maps" / "scan_axial_ring.nii.gz")
    scan = read(tmp_path / "scan.nii.gz")
    assert found.shape == scan.shape
    assert np.allclose(found.affine, scan.affine)
    assert found.data.max() == pytest.approx(1.0, abs=0.05)
    strongest = found.data.max((1, 2))
    assert strongest.argmax() in (1, 2, 3)


def test_evaluate_a_classifier_on_others(head: Path, folder: Path, tmp_path: Path, capsys) -> None:
    command = ["classify", "evaluate", str(folder / "labels.csv"), "--images", str(folder / "scans")]
    assert main([*command, "--head", str(head), "--out", str(tmp_path / "judged"), "--device", "cpu"]) == 0
    said = capsys.readouterr()
    assert "exams of people it was made from are left out" in said.err
    facts = json.loads((tmp_path / "judged" / "classify.json").read_text())
    (row,) = facts["rows"].values()
    assert row["exams"] == json.loads((head / "head.json").read_text())["card"]["test"].popitem()[1]["exams"]
    others = plant(tmp_path / "more", count=4, planes=("axial",), seed=5)
    lines = [f"axial/{e.name}.npy,{e.name},{int(e.values[0])}" for e in others.exams]
    (tmp_path / "more.csv").write_text("\n".join(["file,exam,wrong", *lines]))
    wrong = [
        "classify",
        "evaluate",
        str(tmp_path / "more.csv"),
        "--images",
        str(tmp_path / "more"),
        "--head",
        str(head),
    ]
    assert main(wrong) == 1
    assert "tells ring" in capsys.readouterr().err


def test_cross_validation_prints_the_baselines(folder: Path, tmp_path: Path, capsys) -> None:
    command = ["classify", "evaluate", str(folder / "labels.csv"), "--images", str(folder / "scans"), "--folds", "2"]
    command += ["--weights", "first", "--settings", str(folder / "tiny.json"), "--set", "epochs=2", "-q"]
    assert main([*command, "--out", str(tmp_path / "cv"), "--device", "cpu"]) == 0
    printed = capsys.readouterr().out
    assert "from scratch" in printed
    assert "guessing" in printed
    assert (tmp_path / "cv" / "classify.png").stat().st_size > 10_000
    assert len(json.loads((tmp_path / "cv" / "classify.json").read_text())["scores"]["guessing"]) == 32


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["train"], 2, "needs LABELS and --out"),
        (["train", "none.csv", "--out", "out"], 1, "cannot read the table none.csv"),
        (["predict", "nowhere", "scan.npy"], 1, "holds no exam classifier"),
        (["evaluate"], 2, "needs LABELS"),
    ],
)
def test_mistakes_are_sentences(arguments, code, words, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["classify", *arguments]) == code
    assert words in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_help_shows_the_arguments_of_every_part(capsys) -> None:
    assert main(["classify", "--help"]) == 0
    text = capsys.readouterr().out
    for argument in ("--images", "--cam", "--masks", "--folds", "--thesis"):
        assert argument in text
