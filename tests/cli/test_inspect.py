"""`medssl inspect`: layers, statistics, transfer, evidence and shortcuts of a small run, with reports and refusals."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest
import torch

from napari_medssl.cli import main
from napari_medssl.geometry import same_grid
from napari_medssl.io import read
from napari_medssl.metrics.batchnorm import bn_statistics
from napari_medssl.models.bundle import load_bundle
from napari_medssl.models.encoder3d import build_encoder3d
from napari_medssl.models.segmenter3d import load_segmenter

TINY = [
    "--small", "-q", "--set", "crop_z=16", "--set", "crop_y=16", "--set", "crop_x=16", "--set", "width=0.05",
    "--set", "run.steps=2", "--set", "run.batch=2", "--set", "run.validation_share=0", "--set", "run.monitor_every=0",
]  # fmt: skip


def scans(folder, count, *, brightness=0.0, seed=0):
    folder.mkdir()
    rng = np.random.default_rng(seed)
    for n in range(count):
        data = np.zeros((24, 26, 14), np.float32)
        data[3:20, 4:22, 2:12] = 80 + brightness + rng.normal(0, 12, (17, 18, 10))
        affine = np.diag([-2.0, 2.0, 3.0, 1.0])
        nib.save(nib.Nifti1Image(data, affine), folder / f"scan_{n}.nii.gz")
    return folder


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder with scans, a run of rot3d and one of an autoencoder."""
    root = tmp_path_factory.mktemp("inspect")
    data = scans(root / "scans", 2)
    for method in ("rot3d", "autoencoder"):
        assert main(["pretrain", method, str(data), "--out", str(root / method), *TINY]) == 0
    scans(root / "elsewhere", 2, brightness=300, seed=5)
    return root


FEW = ["--set", "count=8", "--set", "batch=4"]


def test_layers_of_two_runs(work, tmp_path, capsys):
    out = tmp_path / "made" / "likeness"
    arguments = ["inspect", "cka", str(work / "rot3d"), str(work / "autoencoder"), "--data", str(work / "scans"), *FEW]
    assert main([*arguments, "--out", str(out), "-q"]) == 0
    shown = capsys.readouterr().out
    assert "linear CKA, 8 crops: rot3d (rows), autoencoder (columns)" in shown
    report = json.loads((out / "cka.json").read_text())
    assert np.shape(report["cka"]["linear"]) == np.shape(report["cka"]["debiased"]) == (4, 4)
    assert report["settings"]["crop_z"] == 16, "as the first weights were trained"
    assert [w["name"] for w in report["weights"]] == ["rot3d", "autoencoder"]
    assert report["scans"] == {"scans": 2}
    assert (out / "cka.png").stat().st_size > 1000
    assert main([*arguments, "--out", str(out), "-q"]) == 1
    assert "add --force" in capsys.readouterr().err


def test_layers_beside_first_weights_and_themselves(work, tmp_path, capsys):
    weights = str(work / "rot3d" / "encoder3d.safetensors")
    common = ["--data", str(work / "scans"), *FEW, "-q"]
    assert main(["inspect", "cka", weights, *common]) == 0
    assert "unet3d, first weights (columns)" in capsys.readouterr().out
    assert main(["inspect", "cka", weights, str(work / "rot3d"), *common, "--out", str(tmp_path / "same")]) == 0
    report = json.loads((tmp_path / "same" / "cka.json").read_text())
    np.testing.assert_allclose(np.diag(report["cka"]["linear"]), 1, atol=1e-9)


def test_statistics_are_collected_and_kept(work, tmp_path, capsys):
    arguments = ["inspect", "statistics", str(work / "rot3d"), "--data", str(work / "scans")]
    arguments += ["--data", str(work / "elsewhere"), *FEW, "--out", str(tmp_path / "own"), "-q"]
    assert main(arguments) == 0
    assert "distance from those of all together" in capsys.readouterr().out
    report = json.loads((tmp_path / "own" / "statistics.json").read_text())
    assert report["distance"] == pytest.approx(sum(report["layers"].values()))
    assert len(report["layers"]) == 8
    assert set(report["distance_of_data"]) == {"scans", "elsewhere"}
    kept = load_bundle(tmp_path / "own" / "encoder3d.safetensors")
    before = load_bundle(work / "rot3d" / "encoder3d.safetensors")
    assert kept.modules == before.modules
    assert kept.card["recipe"] == "rot3d"
    assert kept.card["batch_statistics"]["of_sha256"] == before.sha256 == report["weights"]["sha256"]
    assert kept.sha256 == report["written_sha256"]
    changed = {k.rsplit(".", 1)[1] for k, v in kept.tensors.items() if not torch.equal(v, before.tensors[k])}
    assert changed - {"num_batches_tracked"} == {"running_mean", "running_var"}
    encoder = build_encoder3d("unet3d", **kept.modules["encoder3d"]["config"])
    encoder.load_state_dict(kept.state("encoder3d"))
    assert len(bn_statistics(encoder)) == 8
    again = ["inspect", "cka", str(tmp_path / "own"), "--data", str(work / "scans"), *FEW, "-q"]
    assert main(again) == 0, "the weights written are weights to go on with"


def test_transfer_reports_and_keeps_a_network(work, tmp_path, capsys):
    out = tmp_path / "start"
    arguments = ["inspect", "transfer", str(work / "autoencoder"), "--part", "encoder+decoder", "--classes", "3"]
    assert main([*arguments, "--out", str(out), "-q"]) == 0
    assert "decoder, other shape: head.weight [3, 4, 1, 1, 1], given [1, 4, 1, 1, 1]" in capsys.readouterr().out
    report = json.loads((out / "transfer.json").read_text())
    assert report["transfer"]["skip_before"] is report["transfer"]["skip_now"] is True
    assert report["network"]["skip"] is True
    network = load_segmenter(out / "segmenter3d.safetensors")
    assert network(torch.rand(1, 1, 8, 8, 8)).shape == (1, 3, 8, 8, 8)
    stored = load_bundle(work / "autoencoder" / "encoder3d.safetensors").state("encoder3d")
    assert all(torch.equal(v, stored[k]) for k, v in network.encoder.state_dict().items())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["transfer", "autoencoder", "--part", "decoder"], "never alone (R-55"),
        (["transfer", "rot3d", "--part", "encoder+decoder"], "holds no decoder"),
        (["transfer", "rot3d", "--width", "0.2"], "nothing of the encoder"),
        (["transfer", "rot3d", "--classes", "1"], "2 classes or more"),
        (["transfer", "scans"], "no weights file"),
        (["cka", "scans", "--data", "scans"], "no encoder3d.safetensors in"),
        (["cka", "default", "--data", "scans"], "no encoder of volumes"),
        (["cka", "rot3d", "--data", "scans", "--only", "other"], "no scan called other"),
        (["cka", "rot3d", "--data", "scans", "--set", "crop_z=12"], "multiples of 8"),
        (["gradcam", "autoencoder", "scans/scan_0.nii.gz", "--out", "map.nii.gz"], "tells no label"),
        (["gradcam", "rot3d", "scans/scan_0.nii.gz", "--out", "map.nii.gz", "--classes", "12"], "classes 0 to 9"),
        (["gradcam", "rot3d", "scans/scan_0.nii.gz", "--out", "map.nii.gz", "--classes", "a"], "whole numbers"),
        (["gradcam", "scans", "scans/scan_0.nii.gz", "--out", "map.nii.gz"], "no state.safetensors in"),
        (["shortcuts", "autoencoder", "--data", "scans"], "no single label"),
        (["shortcuts", "rot3d", "--data", "scans", "--border", "0.7"], "below 0.5"),
    ],
)
def test_what_cannot_be_done_is_said(work, arguments, said, capsys, monkeypatch):
    monkeypatch.chdir(work)
    assert main(["inspect", *arguments, "-q"]) == 1
    assert said in capsys.readouterr().err
    assert not (work / "map.nii.gz").exists()


@pytest.mark.parametrize("arguments", [["cka"], ["cka", "x"], ["statistics"], ["gradcam", "x"], ["shortcuts", "x"]])
def test_missing_arguments_are_wrong_usage(arguments, capsys):
    assert main(["inspect", *arguments]) == 2
    assert f"see medssl inspect {arguments[0]} --help" in capsys.readouterr().err


def test_evidence_lies_on_the_scans_grid(work, tmp_path, capsys):
    scan, out = work / "scans" / "scan_0.nii.gz", tmp_path / "map.nii.gz"
    arguments = ["inspect", "gradcam", str(work / "rot3d"), str(scan), "--out", str(out), "--classes", "0,7", "--each"]
    arguments += ["--overlay", str(tmp_path / "map.png"), "--check", "--set", "places=2", "--set", "check_places=1"]
    assert main([*arguments, "-q"]) == 0
    shown = capsys.readouterr().out
    assert "90 degrees about z" in shown
    assert "with all weights random the map is" in shown
    assert "no better than guessing" in shown, "two steps teach nothing"
    assert same_grid(read(out), read(scan))
    for label in (0, 7):
        assert same_grid(read(tmp_path / f"map.class-{label}.nii.gz"), read(scan))
    report = json.loads((tmp_path / "map.report.json").read_text())
    assert (report["method"], report["questions"], report["chance"]) == ("rot3d", 4, 0.1)
    assert report["checks"]["steps"]
    assert (tmp_path / "map.png").stat().st_size > 1000


def test_shortcuts_are_audited(work, tmp_path, capsys):
    arguments = ["inspect", "shortcuts", str(work / "rot3d"), "--data", str(work / "scans"), "--examples", "8"]
    assert main([*arguments, "--out", str(tmp_path / "audit"), "-q"]) == 0
    assert "on borders alone" in capsys.readouterr().out
    report = json.loads((tmp_path / "audit" / "shortcuts.json").read_text())
    assert report["audit"]["examples"] == 8
    assert report["audit"]["chance"] == 0.1


@pytest.mark.parametrize("part", ["cka", "statistics", "gradcam"])
def test_settings_are_listed(part, capsys):
    assert main(["inspect", part, "--list-settings"]) == 0
    assert "default" in capsys.readouterr().out
