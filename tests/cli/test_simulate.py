"""The command `medssl simulate` from arguments to table and report."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from napari_medssl.cli import main
from napari_medssl.io import write
from napari_medssl.volume import Volume


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two small labelled scans."""
    root = tmp_path_factory.mktemp("scans")
    for name in ("images", "labels"):
        (root / name).mkdir()
    for n in range(2):
        labels = np.zeros((12, 32, 32), np.uint8)
        labels[1:7, 8 + n : 20 + n, 8:20] = 1
        image = 50 + 40.0 * labels + np.random.default_rng(n).normal(0, 15, labels.shape)
        image[:3, 18:28, 8:20] = 90
        scan = Volume(image.astype(np.float32), np.diag([1.5, 1.5, 4.0, 1.0])[:, [2, 1, 0, 3]], "MR")
        write(root / "images" / f"case_{n}.nii.gz", scan)
        write(root / "labels" / f"case_{n}.nii.gz", scan.like(labels))
    return root


def _run(folder: Path, *words: str) -> int:
    return main(["simulate", str(folder), "--weights", "none", "--device", "cpu", *words])


def test_slices_by_rules(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "slices.json"
    words = ("--what", "slices", "--rule", "middle", "--rule", "random", "--scans", "1", "--out", str(out))
    assert _run(folder, *words) == 0
    head, _, *rows = capsys.readouterr().out.splitlines()
    assert "1 slice " in head
    assert "5 slices" in head
    assert [row.split()[1] for row in rows[:2]] == ["middle", "random"]
    report = json.loads(out.read_text())
    assert report["what"] == "slices"
    assert [c["way"] for c in report["courses"]] == ["middle", "random"]
    assert len(report["courses"][0]["dice"]) == 5
    assert _run(folder, *words) == 1  # it is there already
    assert "--force" in capsys.readouterr().err


def test_corrections_beside_the_walker(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(folder, "--what", "corrections", "--against", "random-walker", "--only", "case_0") == 0
    rows = capsys.readouterr().out.splitlines()[2:]
    assert [row.split()[1] for row in rows] == ["medssl", "random-walker"]


def test_a_calibration_is_fitted_extended_and_used(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fitted = tmp_path / "fit.json"
    for route in ("within", "across"):
        assert _run(folder, "--what", "calibration", "--route", route, "--fit", str(fitted)) == 0
    assert [e["route"] for e in json.loads(fitted.read_text())["entries"]] == ["within", "across"]
    capsys.readouterr()
    assert _run(folder, "--what", "calibration", "--use", str(fitted)) == 0
    head, _, row = capsys.readouterr().out.splitlines()
    assert "ECE voxels" in head
    assert row.split()[0] == folder.name


def test_mistakes_are_told(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "--what", "slices"]) == 2
    assert _run(folder, "--what", "slices", "--rule", "best") == 1
    assert "no rule 'best'" in capsys.readouterr().err
    assert _run(folder, "--what", "slices", "--organs", "liver") == 1
    assert "label values" in capsys.readouterr().err
    fit = ("--what", "calibration", "--fit", str(tmp_path / "new.json"), "--only", "case_0", "--route", "across")
    assert _run(folder, *fit) == 1  # across needs another scan
    assert "give other labelled scans" in capsys.readouterr().err
    assert _run(folder, "--what", "slices", "--only", "nobody") == 1
    assert "no labelled scan" in capsys.readouterr().err
    (tmp_path / "bad.json").write_text("{}")
    assert _run(folder, "--what", "calibration", "--fit", str(tmp_path / "bad.json")) == 1
    assert "no calibration" in capsys.readouterr().err
