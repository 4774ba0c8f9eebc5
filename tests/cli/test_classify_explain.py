"""`medssl classify explain` writes evidence on the grid of the scan, with a report and a picture, for every head."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from napari_medssl.classify.calibrate import Calibrator
from napari_medssl.classify.exams.model import ExamModel
from napari_medssl.classify.exams.model_file import save_exam_model
from napari_medssl.classify.exams.network import EncoderSource, build_network
from napari_medssl.classify.exams.settings import ExamSettings
from napari_medssl.classify.head_file import save_head
from napari_medssl.classify.slices import LearnSettings, learn_slices, several_classes, slice_vectors_steps
from napari_medssl.cli import main
from napari_medssl.cli.evidence_picture import evidence_picture
from napari_medssl.engine import Engine
from napari_medssl.geometry import same_grid
from napari_medssl.io import read, write
from napari_medssl.progress import finish
from napari_medssl.samples.phantom import phantom
from tests.engine.conftest import write_weights


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A folder with weights, a head of slices learned on a phantom, a classifier of exams, and another phantom."""
    folder = tmp_path_factory.mktemp("explain")
    weights = write_weights(folder / "tiny.safetensors")
    scan, labels = phantom("CT", shape=(14, 48, 48), seed=1)
    names = {o.value: o.name for o in labels.labels}
    present = {z: [names[v] for v in np.unique(labels.data[z]) if v][:3] for z in range(14)}
    classes = sorted({n for shown in present.values() for n in shown if any(n not in s for s in present.values())})[:2]
    marks = several_classes(classes, {"a": {z: [n for n in s if n in classes] for z, s in present.items()}})
    with Engine("cpu", weights) as engine:
        vectors = {"a": finish(slice_vectors_steps(engine, scan))}
        save_head(folder / "organs", learn_slices(vectors, marks, LearnSettings(members=2)))
    config = {"in_slices": 1, "width": 8, "channels": 16, "input_size": 48}
    settings = ExamSettings(size=48)
    source = EncoderSource("tiny", "slice-resnet", config, 48, None)
    ones = np.ones((1, 1))
    network = build_network(source, settings, 1, seed=0)
    save_exam_model(
        folder / "exams",
        ExamModel(
            settings,
            "several",
            ("tear",),
            source,
            {"": network},
            ones,
            ones,
            np.full(1, 0.5),
            Calibrator("none", "several", ("tear",)),
        ),
    )
    write(folder / "scan.nii.gz", phantom("CT", shape=(14, 48, 48), seed=2)[0])
    return folder, classes


def explain(places, *words: str) -> int:
    folder, _ = places
    fixed = ["--weights", str(folder / "tiny.safetensors"), "--device", "cpu", "-q"]
    return main(["classify", "explain", *words, *fixed])


def test_a_head_of_slices_is_explained_checked_and_drawn(places, tmp_path, capsys):
    folder, classes = places
    out, picture = tmp_path / "e.nii.gz", tmp_path / "e.png"
    words = [str(folder / "organs"), str(folder / "scan.nii.gz"), "--class", classes[0], "--out", str(out)]
    assert explain(places, *words, "--overlay", str(picture), "--check") == 0
    said = capsys.readouterr().out
    assert f"{classes[0]}: strongest evidence at slice" in said
    assert "random weights" in said or "all weights random" in said
    assert "deletion" in said
    evidence = read(out)
    assert same_grid(evidence, read(folder / "scan.nii.gz"))
    assert 0.5 < evidence.data.max() <= 1
    report = json.loads((tmp_path / "e.report.json").read_text())
    assert report["class"]["name"] == classes[0]
    assert report["settings"]["method"] == "gradcam"
    assert len(report["checks"]["sanity"]["steps"]) == 8
    with Image.open(picture) as drawn:
        assert drawn.width > 600
    assert explain(places, *words) == 1
    assert "exists already" in capsys.readouterr().err


def test_occlusion_looks_at_the_slices_that_show_the_class(places, tmp_path):
    folder, classes = places
    words = [str(folder / "organs"), str(folder / "scan.nii.gz"), "--class", classes[0], "--method", "occlusion"]
    words += ["--set", "patch=0.4", "--set", "overlap=0"]
    assert explain(places, *words, "--slices", "3:5", "--out", str(tmp_path / "a.nii.gz")) == 0
    report = json.loads((tmp_path / "a.report.json").read_text())
    assert report["slices"] == [3, 4]
    assert explain(places, *words, "--out", str(tmp_path / "b.nii.gz")) == 0
    assert 1 <= len(json.loads((tmp_path / "b.report.json").read_text())["slices"]) <= 14


def test_a_classifier_of_exams_is_explained(places, tmp_path, capsys):
    folder, _ = places
    out = tmp_path / "tear.nii.gz"
    assert explain(places, str(folder / "exams"), str(folder / "scan.nii.gz"), "--out", str(out), "--check") == 0
    assert same_grid(read(out), read(folder / "scan.nii.gz"))
    report = json.loads((tmp_path / "tear.report.json").read_text())
    assert report["class"]["name"] == "tear"
    assert report["checks"]["sanity"]["steps"][0]["part"].startswith("head")
    words = [str(folder / "exams"), str(folder / "scan.nii.gz"), "--out", str(tmp_path / "x.nii.gz")]
    assert explain(places, *words, "--slices", "1:2") == 1
    assert "--slices is for heads of slices" in capsys.readouterr().err


def test_mistakes_are_sentences(places, tmp_path, capsys):
    folder, classes = places
    scan, out = str(folder / "scan.nii.gz"), str(tmp_path / "o.nii.gz")
    assert explain(places, str(folder / "organs"), scan, "--class", "brain", "--out", out) == 1
    assert f"the head knows: {', '.join(classes)}" in capsys.readouterr().err
    assert explain(places, str(folder / "organs"), scan) == 2
    assert "explain needs --out" in capsys.readouterr().err
    assert main(["classify", "explain", str(folder / "organs"), scan, "--class", classes[0], "--out", out, "-q",
                 "--weights", "none"]) == 1  # fmt: skip
    assert "was learned on the encoder 'slice-resnet'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_picture_shows_strong_evidence_in_colour_on_the_strongest_slices(places):
    volume = read(places[0] / "scan.nii.gz")
    evidence = np.zeros(volume.shape, np.float32)
    evidence[9, 20:30, 10:20] = 1
    drawn = np.asarray(evidence_picture(volume, volume.like(evidence), n_slices=1)).astype(int)
    yellow = (drawn[..., 0] > 200) & (drawn[..., 2] < drawn[..., 0] - 60)
    rows, columns = np.nonzero(yellow)
    assert 20 / 48 <= rows.mean() / drawn.shape[0] <= 30 / 48
    assert 10 / 48 <= columns.mean() / drawn.shape[1] <= 20 / 48
