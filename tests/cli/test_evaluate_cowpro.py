"""`medssl evaluate cowpro`: tables, files, going on, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_medssl.cli import OK, USAGE, USER_ERROR, main
from napari_medssl.io import write
from napari_medssl.models.bundle import module_bundle, save_bundle
from napari_medssl.models.encoder import build_encoder
from napari_medssl.volume import Volume

ORGANS = ("--set", "organs=1 right kidney, 2 spleen", "--set", "groups=1 2", "--set", "resamples=20")
TINY = (
    "--folds", "2", "--set", "train.size=64", "--set", "train.run.steps=2", "--set", "train.superpixels.min_size=800",
    "--set", 'train.encoder_options={"width": 8, "channels": 16, "in_slices": 1}',
)  # fmt: skip


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Four people with two organs."""
    root = tmp_path_factory.mktemp("people")
    affine = np.array([[0, 0, -3.0, 96], [0, -3.0, 0, 96], [8.0, 0, 0, 0], [0, 0, 0, 1]])
    ys, xs = np.ogrid[:64, :64]
    for folder in ("images", "labels"):
        (root / folder).mkdir()
    for n in range(4):
        labels = np.zeros((9, 64, 64), np.uint8)
        labels[1:5, (ys - 30) ** 2 + (xs - 18) ** 2 < 81] = 1
        labels[3:7, (ys - 36) ** 2 + (xs - 46 + n) ** 2 < 81] = 2
        image = np.where((ys - 32) ** 2 + (xs - 32) ** 2 < 30**2, 60.0, 5.0) + 140 * (labels == 1) + 70 * (labels == 2)
        image += np.random.default_rng(n).normal(0, 3, image.shape)
        write(root / "images" / f"p{n}.nii.gz", Volume(image.astype(np.float32), affine, "MR"))
        write(root / "labels" / f"p{n}.nii.gz", Volume(labels, affine))
    return str(root)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A narrow encoder with random weights."""
    torch.manual_seed(0)
    encoder = build_encoder("slice-resnet", in_slices=1, width=8, channels=16, input_size=64)
    path = tmp_path_factory.mktemp("weights") / "narrow.safetensors"
    save_bundle(path, module_bundle("encoder", "slice-resnet", encoder, {}))
    return str(path)


def run(*arguments: str) -> int:
    return main(["evaluate", "cowpro", *arguments, "--device", "cpu", "--quiet"])


def test_given_weights_beside_the_thesis(
    people: str, weights: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(people, "--weights", weights, "--out", str(out), *ORGANS) == OK
    text = capsys.readouterr().out
    assert [line for line in text.splitlines() if line.startswith("Table")] == [
        "Table 7.1: methods",
        "Table 7.2: threshold, without quadrants",
        "Table 7.3: quadrants, fixed threshold",
        "Table 7.4: window and share of prototypes, without quadrants",
    ]
    fixed = next(line for line in text.splitlines() if line.startswith("fixed"))
    assert "(79.1)" in fixed
    assert "(71.2)" in fixed
    report = json.loads((out / "cowpro.json").read_text())
    assert report["settings"]["folds"] == 1
    assert len(report["weights"][weights]) == 64
    assert {s["query"] for s in report["scores"]} == {"p0.nii.gz", "p1.nii.gz", "p2.nii.gz"}
    effects = {(e["name"], e["organ"]): e for e in report["effects"]}
    assert effects["dynamic - fixed threshold", "spleen"]["thesis"] == -4.86
    rows = (out / "cowpro.md").read_text().splitlines()
    assert any(row.startswith("| fixed | ") and "(79.1)" in row for row in rows)
    assert run(people, "--weights", weights, "--out", str(out), *ORGANS) == USER_ERROR
    assert "--force" in capsys.readouterr().err


def test_training_is_gone_on_with(people: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert run(people, "--out", str(out), *ORGANS, *TINY) == OK
    first = json.loads((out / "cowpro.json").read_text())
    assert list(first["weights"]) == ["fold_1/organs_1_2", "fold_2/organs_1_2", "untrained"]
    if (out / "cowpro.png").exists():  # matplotlib is there
        assert (out / "cowpro.png").read_bytes().startswith(b"\x89PNG")
    before = (out / "fold_2" / "organs_1_2.safetensors").stat().st_mtime_ns
    assert run(people, "--out", str(out), *ORGANS, *TINY) == OK
    assert json.loads((out / "cowpro.json").read_text())["scores"] == first["scores"]
    assert (out / "fold_2" / "organs_1_2.safetensors").stat().st_mtime_ns == before
    capsys.readouterr()
    assert run(people, "--out", str(out), *ORGANS, *TINY, "--set", "train.run.steps=3") == USER_ERROR
    assert "train.run.steps 2 (now 3)" in capsys.readouterr().err
    assert run(people, "--out", str(out), *ORGANS, "--weights", "none") == USER_ERROR
    assert "holds the trainings" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), USAGE, "needs DATA and --out DIR, or DATA and --weights"),
        (("PEOPLE",), USAGE, "needs DATA and --out DIR"),
        (("PEOPLE", "--weights", "none", "--folds", "3"), USER_ERROR, "choose 1 to 2"),
        (("PEOPLE", "--weights", "none", "--start-from", "x"), USER_ERROR, "give one of them"),
        (("PEOPLE", "--weights", "none", "--set", "groups=1"), USER_ERROR, "groups: '1' must hold"),
        (("PEOPLE", "--weights", "none", "--only", "zebra"), USER_ERROR, "no labelled scan called zebra"),
    ],
)
def test_mistakes_are_explained(
    people: str, arguments: tuple[str, ...], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*(people if a == "PEOPLE" else a for a in arguments)) == code
    assert message in capsys.readouterr().err


def test_settings_of_a_preset_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--preset", "thesis", "--list-settings") == OK
    text = capsys.readouterr().out
    assert "resnet101-s8" in text
    assert "100000" in text
