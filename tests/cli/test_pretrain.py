"""`medssl pretrain` ends with weights that `medssl segment` can use, and a report beside them."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from napari_medssl.cli import main
from napari_medssl.io import write
from napari_medssl.models.bundle import load_bundle
from napari_medssl.samples.phantom import phantom
from napari_medssl.train.curves import read_curves

SMALL = ["--small", "--set", "run.save_every=1", "--set", "run.log_every=1", "--set", "run.batch=4"]


@pytest.fixture
def scans(tmp_path):
    folder = tmp_path / "scans"
    folder.mkdir()
    for seed in range(2):
        scan, _ = phantom("MR", shape=(6, 64, 64), seed=seed)
        write(folder / f"p{seed}.nii.gz", scan)
    return folder


def rotation(scans, out, steps, *more):
    arguments = ["pretrain", "rotation", scans, "--out", out, "--device", "cpu", "-q", *SMALL, *more]
    return main([*map(str, arguments), "--set", f"run.steps={steps}"])


def test_trained_weights_segment(scans, tmp_path, capsys):
    out = tmp_path / "run"
    assert rotation(scans, out, 2) == 0
    assert "use it: medssl segment" in capsys.readouterr().out
    weights = out / "encoder.safetensors"
    report = json.loads((out / "encoder.report.json").read_text())
    assert report["weights_sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert report["settings"]["run"]["steps"] == 2
    assert report["method"] == "rotation"
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
    assert rotation(scans, tmp_path / "parts", 1) == 0
    assert rotation(scans, tmp_path / "parts", 2) == 0
    assert list(read_curves(tmp_path / "parts" / "log.csv")) == [1, 2]


def test_runs_share_prepared_scans(scans, tmp_path):
    cache = tmp_path / "cache"
    for name in ("a", "b"):
        assert rotation(scans, tmp_path / name, 1, "--cache", cache) == 0
        assert not (tmp_path / name / "scans").exists()
    assert len(list(cache.glob("*.json"))) == 2


def test_single_scans_can_be_named(scans, tmp_path):
    assert rotation(scans / "p1.nii.gz", tmp_path / "run", 1) == 0
    report = json.loads((tmp_path / "run" / "encoder.report.json").read_text())
    assert report["data"] == {"scans": ["p1.nii.gz"]}


def test_every_method_is_listed(capsys):
    assert main(["pretrain", "--list"]) == 0
    listed = capsys.readouterr().out
    for name in ("skid-v3", "mio-v3", "dystress", "rubik-plus", "mae3d", "cowpro"):
        assert f"\n{name} " in listed
    assert "thesis" in listed


def test_a_group_keeps_the_defaults_of_its_method(scans, tmp_path, capsys):
    assert main(["pretrain", "mio-v3", "--list-settings"]) == 0
    rows = {line.split()[0]: line.split()[1] for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert rows["run.optim.name"] == "sgd"  # the method's own, not that of the class
    assert rotation(scans, tmp_path / "run", 1) == 0
    card = load_bundle(tmp_path / "run" / "encoder.safetensors").card
    assert card["settings"]["run"]["epoch"] == 200  # of the small settings, although run.steps was set


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "needs a METHOD"),
        (["cowpro"], 2, "also needs DATA and --out DIR"),
        (["jigsaw", "x", "--out", "y"], 1, "no method is called 'jigsaw'"),
        (["cowpro", "not/there", "--out", "run"], 1, "not/there is not a folder"),
        (["cowpro", "not/there", "--out", "run", "--set", "run.steps=0"], 1, "steps is 0"),
        (["incontext", "not/there", "--out", "run"], 1, "not/there is not a folder"),
    ],
)
def test_mistakes(arguments, code, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["pretrain", *arguments]) == code
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_temperature_that_collapses_is_refused(scans, tmp_path, capsys):
    command = ["pretrain", "mio-v3", str(scans), "--out", str(tmp_path / "run"), "--set", "temperature=0.07"]
    assert main(command) == 1
    assert "0.1" in capsys.readouterr().err


def test_torchrun_trains_with_the_command(scans, tmp_path):
    root = Path(__file__).parents[2]
    surroundings = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--rdzv-backend=c10d"]
    command += ["--rdzv-endpoint=localhost:0", "-m", "napari_medssl", "pretrain", "simclr", str(scans)]
    command += ["--out", str(tmp_path / "run"), "--device", "cpu", *SMALL, "--set", "run.steps=2"]
    done = subprocess.run(command, env=surroundings, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("written:") == 1  # one of the processes speaks
    card = load_bundle(tmp_path / "run" / "encoder.safetensors").card
    assert card["run"]["processes"] == 2
