"""`medssl evaluate` on small folders: every task, the analysis, and what it writes."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from napari_medssl.cli import OK, USAGE, USER_ERROR, main
from napari_medssl.io import write
from napari_medssl.models.bundle import module_bundle, save_bundle
from napari_medssl.models.encoder import build_encoder
from napari_medssl.volume import Volume

QUICK = (
    "--quiet",
    "--device",
    "cpu",
    "--set",
    "compare.resamples=20",
    "--set",
    "slices_per_scan=8",
    "--set",
    "size=32",
)
FIT = ("--set", "compare.fit.steps=2", "--set", "compare.fit.batch=4")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Four people with two bright blocks, and a table that puts them into two groups."""
    folder = tmp_path_factory.mktemp("toy")
    affine = np.diag([8.0, 4.0, 4.0, 1.0])[[2, 1, 0, 3]]
    for kind in ("images", "labels"):
        (folder / kind).mkdir()
    for n in range(4):
        labels = np.zeros((10, 32, 32), np.uint8)
        labels[2 + n % 2 : 8, 4:18, 6:20] = 1
        labels[:5, 20:30, 18:28] = 2
        noise = np.random.default_rng(n).normal(0, 10, labels.shape)
        image = 100 + 500 * (labels == 1) + 250 * (labels == 2) + noise + 40 * (n % 2)
        write(folder / "images" / f"p{n}.nii.gz", Volume(image.astype(np.float32), affine))
        write(folder / "labels" / f"p{n}.nii.gz", Volume(labels, affine))
    rows = [f"p{n}.nii.gz,{'even' if n % 2 else 'odd'}" for n in range(4)]
    (folder / "exams.csv").write_text("\n".join(["file,group", *rows]) + "\n")
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A narrow encoder with random weights."""
    torch.manual_seed(0)
    encoder = build_encoder("slice-resnet", in_slices=1, width=8, channels=16, input_size=32)
    path = tmp_path_factory.mktemp("weights") / "narrow.safetensors"
    save_bundle(path, module_bundle("encoder", "slice-resnet", encoder, {}))
    return str(path)


def test_presence_beside_its_baselines(folder, weights, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = (
        "--data",
        str(folder),
        "--out",
        str(out),
        "--seeds",
        "1",
        "--shares",
        "0.5,1",
        "--set",
        "compare.folds=2",
    )
    assert main(["evaluate", weights, "none", *arguments, *FIT, *QUICK]) == OK
    text = capsys.readouterr().out
    lines = text.splitlines()
    assert lines[0].split()[:6] == ["data", "weights", "protocol", "labels", "people", "AUC"]
    report = json.loads((out / "evaluate.json").read_text())
    rows = {(r["weights"], r["protocol"], r["share"]): r for r in report["rows"]}
    names = {"narrow.safetensors", "none", "slice-resnet, first weights", "slice-resnet, from scratch"}
    assert {w for w, _, _ in rows} == names
    assert {p for _, p, _ in rows} == {"knn 200", "knn 20", "knn 10", "knn 1", "probe", "supervised"}
    assert rows["narrow.safetensors", "probe", 1.0]["labelled"] == 16
    assert rows["narrow.safetensors", "probe", 0.5]["people"] == 1
    assert rows["none", "probe", 1.0]["measures"]["auc"]["value"] > 0.9
    assert report["weights"]["narrow.safetensors"]["encoder"] == "slice-resnet"
    assert len(report["weights"]["narrow.safetensors"]["sha256"]) == 64
    assert main(["evaluate", weights, *arguments, *QUICK]) == USER_ERROR
    assert "--force" in capsys.readouterr().err


def test_figure_is_drawn_where_matplotlib_is(folder, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    out = tmp_path / "out"
    assert (
        main(["evaluate", "none", "--data", str(folder), "--out", str(out), "--set", "compare.folds=2", *QUICK]) == OK
    )
    assert (out / "evaluate.png").read_bytes().startswith(b"\x89PNG")
    assert "evaluate.png" in capsys.readouterr().out


@pytest.mark.parametrize("task", ["dense", "position", "exams"])
def test_other_tasks(folder, weights, task, capsys):
    table = ("--table", str(folder / "exams.csv")) if task == "exams" else ()
    common = ("--data", str(folder), "--task", task, "--seeds", "1", "--set", "compare.folds=2", *table)
    assert main(["evaluate", weights, *common, "--protocol", "probe", "--protocol", "finetune", *FIT, *QUICK]) == OK
    lines = capsys.readouterr().out.splitlines()
    assert {"dense": "Dice", "position": "MAE", "exams": "AUC"}[task] in lines[0]
    protocols = ["probe", "finetune full", "probe", "supervised"]
    assert [p for line, p in zip(lines[2:], protocols, strict=True) if p in line] == protocols


def test_one_shot(folder, weights, capsys):
    assert main(["evaluate", weights, "none", "--data", str(folder), "--task", "oneshot", "--quiet"]) == OK
    lines = capsys.readouterr().out.splitlines()
    assert [n for n in ("narrow", "first weights", "none") if any(n in line for line in lines)] == [
        "narrow", "first weights", "none"
    ]  # fmt: skip
    assert lines[2].split()[2] == "3"  # the last scan is the support


def test_analysis_of_two_and_of_one(folder, weights, tmp_path, capsys):
    few = ("--set", "pairs=4", "--set", "strengths=false", "--set", "slices_per_scan=4")
    out = tmp_path / "out"
    arguments = ("--data", str(folder), "--device", "cpu", "--quiet", *few)
    assert main(["evaluate", "analyse", weights, *arguments, "--set", "hessian_steps=3", "--out", str(out)]) == OK
    text = capsys.readouterr().out
    assert "slice-resnet, first weights" in text
    assert "linear CKA of layers" in text
    found = json.loads((out / "evaluate.json").read_text())
    scores = found["analyses"]["narrow.safetensors"]["scores"]
    assert scores["uniformity"]["value"] < 0
    assert scores["bn distance"]["reason"] == "the encoder has no batch normalisation"
    assert 0 <= scores["negative ritz values"]["value"] <= 1
    assert len(found["cka"]) == len(found["analyses"]["narrow.safetensors"]["stages"])
    assert main(["evaluate", "analyse", weights, weights, *arguments]) == OK
    assert " 1.000" in capsys.readouterr().out
    assert main(["evaluate", "analyse", weights, "none", *arguments]) == USER_ERROR
    assert "different input" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), USAGE, "needs WEIGHTS and --data DIR"),
        (("--shares", "0"), USER_ERROR, "above 0 and at most 1"),
        (("--only", "zebra"), USER_ERROR, "no labelled scan called zebra..."),
        (("--task", "exams"), USER_ERROR, "needs a table"),
        (("--set", "size=100"), USER_ERROR, "multiple of 8"),
        (("--set", "compare.folds=9"), USER_ERROR, "9 folds of 4 people"),
    ],
)
def test_mistakes_are_explained(folder, arguments, code, message, capsys):
    data = ("--data", str(folder)) if arguments else ()
    assert main(["evaluate", "none", *data, *arguments, "--quiet"]) == code
    assert message in capsys.readouterr().err


def test_settings_are_listed(capsys):
    assert main(["evaluate", "--list-settings"]) == OK
    assert "compare.fit.mode" in capsys.readouterr().out
    assert main(["evaluate", "analyse", "--list-settings"]) == OK
    assert "hessian_steps" in capsys.readouterr().out
