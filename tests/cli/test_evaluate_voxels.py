"""`medssl evaluate voxels` and `landmarks`, as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from napari_medssl.cli import OK, USAGE, USER_ERROR, main
from napari_medssl.models.bundle import module_bundle, save_bundle
from napari_medssl.models.encoder3d import build_encoder3d
from tests.evaluate.volumes_on_disk import make_folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run") / "encoder3d.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = build_encoder3d("unet3d", width=0.0625, norm="group")
    save_bundle(path, module_bundle("encoder3d", "unet3d", encoder, {"settings": {"spacing_mm": 3.0}}))
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("data") / "toy", people=2)


def test_voxels(weights: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    few = ["--set", "per_organ=20", "--set", "others=30", "--set", "resamples=10", "--set", "position=false"]
    assert main(["evaluate", "voxels", str(weights), "--data", str(data), *few, "--out", str(out), "-q"]) == OK
    shown = capsys.readouterr().out
    assert "intensity and gradient" in shown
    assert "unet3d, first weights" in shown
    report = json.loads((out / "evaluate.json").read_text())
    assert [r["features"] for r in report["rows"]][:2] == ["intensity and gradient", "position"]
    assert report["settings"]["per_organ"] == 20
    assert len(report["weights"]) == 1
    assert main(["evaluate", "voxels", str(weights), "--data", str(data), "--out", str(out), "-q"]) == USER_ERROR


def test_landmarks(weights: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = ["--set", "resamples=10", "--set", "stages=2,3"]
    assert main(["evaluate", "landmarks", str(weights), "--data", str(data), *few, "-q"]) == OK
    assert "position in the body's box" in capsys.readouterr().out


def test_mistakes_are_explained(weights: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "voxels", str(weights)]) == USAGE
    assert main(["evaluate", "voxels", str(weights), "--data", str(data), "--shares", "0.5"]) == USER_ERROR
    assert "has no --shares" in capsys.readouterr().err
    assert main(["evaluate", "landmarks", "none", "--data", str(data)]) == USER_ERROR
    assert "no encoder of volumes" in capsys.readouterr().err
    assert main(["evaluate", "voxels", "--list-settings"]) == OK
    assert "per_organ" in capsys.readouterr().out
