"""`medssl pretrain` ends with weights that `medssl segment` can use, and a report beside them."""

import hashlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors import safe_open

from napari_medssl.cli import main
from napari_medssl.cli.console import Console
from napari_medssl.cli.training import follow_training
from napari_medssl.io import write
from napari_medssl.models.bundle import load_bundle
from napari_medssl.progress import Progress
from napari_medssl.samples.phantom import phantom
from napari_medssl.train.curves import read_curves
from napari_medssl.train.trainer import TrainingProgress

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


def _interrupted(scans, out, *more):
    """Start a long run, send SIGINT once it has logged, and give its return code and what it said."""
    command = [sys.executable, "-m", "napari_medssl", "pretrain", "rotation", str(scans), "--out", str(out)]
    settings = ["--device", "cpu", "--small", "--set", "run.steps=100000", "--set", "run.log_every=1", *more]
    surroundings = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen([*command, *settings], stderr=subprocess.PIPE, text=True, env=surroundings) as process:
        end = time.monotonic() + 120
        while len(read_curves(out / "log.csv")) < 2:
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    return process.returncode, said


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGINT to send")
@pytest.mark.parametrize("workers", [0, 1])
def test_ctrl_c_saves_the_state_and_says_how_to_go_on(scans, tmp_path, workers):
    out = tmp_path / "run"
    code, said = _interrupted(scans, out, "--set", f"run.workers={workers}")
    assert code == 130
    assert "stopping after this step" in said
    assert f"the same command goes on with what is in {out}" in said
    with safe_open(str(out / "state.safetensors"), framework="pt") as f:
        step = json.loads(f.metadata()["run"])["step"]
    assert step == max(read_curves(out / "log.csv"))  # nothing is lost


def test_a_damaged_scan_is_named_and_not_claimed(scans, tmp_path, capsys):
    (scans / "broken.nii.gz").write_bytes(b"no scan")
    arguments = ["pretrain", "rotation", scans, "--out", tmp_path / "run", "--device", "cpu", *SMALL]
    assert main([*map(str, arguments), "--set", "run.steps=1"]) == 0
    said = capsys.readouterr()
    assert "note: left out" in said.err
    assert "broken.nii.gz" in said.err
    assert "trained: 1 steps in" in said.out
    report = json.loads((tmp_path / "run" / "encoder.report.json").read_text())
    assert report["data"] == {"scans": ["p0.nii.gz", "p1.nii.gz"]}
    assert ["broken.nii.gz" in note for note in report["notes"]] == [True]
    assert load_bundle(tmp_path / "run" / "encoder.safetensors").card["data"] == report["data"]


def test_a_run_of_hours_is_announced_once(capsys, monkeypatch):
    clock = itertools.count(0.0, 100.0)
    monkeypatch.setattr("napari_medssl.cli.training.time.monotonic", lambda: next(clock))

    def steps():
        yield Progress(0, 2, "reading")
        for done in range(1, 5):
            yield TrainingProgress(done, 1000, "training")
        return "weights"

    def announced(**more):
        assert follow_training(Console(), steps(), Path("run"), **more) == ("weights", [])
        return capsys.readouterr().err.splitlines()

    (line,) = announced()
    assert "a step takes 100.0 s here, so the 998 to come take about 28 hours; --small" in line
    assert announced(limit_minutes=5.0) == []


def test_the_small_settings_are_listed(capsys):
    assert main(["pretrain", "simclr", "--list-settings", "--small"]) == 0
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert rows["run.batch"].split()[1] == "8"
    assert "int from 1" in rows["run.batch"]


def test_a_folder_that_cannot_be_made_is_refused(scans, tmp_path, capsys):
    (tmp_path / "run").write_text("")
    assert rotation(scans, tmp_path / "run", 1) == 1
    assert "run is a file; give a folder" in capsys.readouterr().err
