"""`medssl pretrain` ends with weights that `medssl segment` can use, and a report beside them."""

import hashlib
import json

import pytest

from napari_medssl.cli import main
from napari_medssl.cli.pretrain import RECIPES
from napari_medssl.io import write
from napari_medssl.samples.phantom import phantom

SMALL = ["--set", "encoder=slice-resnet", "--set", "size=64", "--set", "save_every=1", "--set", "log_every=1"]


@pytest.fixture
def scans(tmp_path):
    folder = tmp_path / "scans"
    folder.mkdir()
    for seed in range(2):
        scan, _ = phantom("MR", shape=(6, 64, 64), seed=seed)
        write(folder / f"p{seed}.nii.gz", scan)
    return folder


def cowpro(scans, out, iterations, *more):
    arguments = ["pretrain", "cowpro", scans, "--out", out, "--device", "cpu", "-q", *SMALL, *more]
    return main([*map(str, arguments), "--set", f"iterations={iterations}"])


def test_trained_weights_segment(scans, tmp_path, capsys):
    out = tmp_path / "run"
    assert cowpro(scans, out, 2) == 0
    assert "use it: medssl segment" in capsys.readouterr().out
    weights = out / "encoder.safetensors"
    report = json.loads((out / "encoder.report.json").read_text())
    assert report["weights_sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert report["settings"]["iterations"] == 2
    assert report["data"] == {"scans": ["p0.nii.gz", "p1.nii.gz"]}
    scan, truth = phantom("MR", shape=(6, 64, 64), seed=0)
    mask = truth.data.copy()
    mask[:3], mask[4:] = 0, 0
    write(tmp_path / "mask.nii.gz", scan.like((mask == 1).astype("uint8")))
    arguments = ["segment", scans / "p0.nii.gz", "--support-mask", tmp_path / "mask.nii.gz", "--weights", weights, "-q"]
    assert main([*map(str, arguments), "--set", "method=prototypes", "--out", str(tmp_path / "o.nii.gz")]) == 0
    used = json.loads((tmp_path / "o.report.json").read_text())["weights"]
    assert used["sha256"] == report["weights_sha256"]


def test_a_run_goes_on_where_it_was(scans, tmp_path):
    assert cowpro(scans, tmp_path / "parts", 1) == 0
    assert cowpro(scans, tmp_path / "parts", 2) == 0
    assert cowpro(scans, tmp_path / "whole", 2) == 0
    parts, whole = ((tmp_path / n / "log.csv").read_text().splitlines() for n in ("parts", "whole"))
    assert len(parts) == len(whole) == 3


def test_single_scans_can_be_named(scans, tmp_path):
    assert cowpro(scans / "p1.nii.gz", tmp_path / "run", 1) == 0
    report = json.loads((tmp_path / "run" / "encoder.report.json").read_text())
    assert report["data"] == {"single scans": ["p1.nii.gz"]}


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_lists_its_settings(recipe, capsys):
    assert main(["pretrain", recipe, "--list-settings"]) == 0
    assert "iterations" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["cowpro"], 2, "also needs DATA and --out DIR"),
        (["jigsaw", "x", "--out", "y"], 2, "invalid choice"),
        (["cowpro", "not/there", "--out", "run"], 1, "not/there is not a folder"),
        (["cowpro", "not/there", "--out", "run", "--set", "iterations=0"], 1, "iterations is 0"),
        (["incontext", "not/there", "--out", "run"], 1, "not/there is not a folder"),
    ],
)
def test_mistakes(arguments, code, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["pretrain", *arguments]) == code
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_device_is_refused_where_it_would_be_ignored(scans, tmp_path, capsys):
    arguments = ["pretrain", "propagation", str(scans), "--out", str(tmp_path / "run"), "--device", "cuda"]
    assert main(arguments) == 1
    assert "trains on the CPU only" in capsys.readouterr().err
