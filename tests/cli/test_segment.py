"""`medssl segment` from files to files."""

import hashlib
import json

import nibabel as nib
import numpy as np
import pytest

from napari_medssl.cli import main
from napari_medssl.cli.one_slice import choose_organs, one_slice_each
from napari_medssl.io import read, write
from napari_medssl.oneshot import within_scan
from napari_medssl.oneshot.opinion import Opinion
from napari_medssl.oneshot.recognition import Known
from napari_medssl.samples.phantom import phantom

SHAPE = (10, 64, 64)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Folder with a scan, its labels, and a support with liver and spleen on one slice each."""
    folder = tmp_path_factory.mktemp("scan")
    scan, truth = phantom("CT", shape=SHAPE)
    support = one_slice_each(scan, truth, choose_organs(truth, ["liver", "spleen"]))
    write(folder / "scan.nii.gz", scan)
    write(folder / "truth.nii.gz", truth)
    write(folder / "support.nii.gz", scan.like(support.mask, support.labels))
    return folder


def segment(files, out, *more):
    base = ["segment", str(files / "scan.nii.gz"), "--support-mask", str(files / "support.nii.gz"), "--out", str(out)]
    return main([*base, "--weights", "none", "--device", "cpu", "--quiet", *map(str, more)])


def test_from_scan_to_mask_with_report_picture_and_table(files, tmp_path, capsys):
    out, picture = tmp_path / "organs.nii.gz", tmp_path / "organs.png"
    assert segment(files, out, "--truth", files / "truth.nii.gz", "--overlay", picture) == 0
    table = capsys.readouterr().out
    assert "liver" in table and "Dice" in table  # noqa: PT018
    source, mask = nib.load(files / "scan.nii.gz"), nib.load(out)
    assert np.array_equal(source.affine, mask.affine)
    labels = read(out, labels=True)
    assert [o.name for o in labels.labels] == ["liver", "spleen"]
    report = json.loads((tmp_path / "organs.report.json").read_text())
    row = {r["name"]: r for r in report["organ_table"]}["liver"]
    assert row["voxels"] == (labels.data == 1).sum()
    assert row["dice"] > 0.5
    assert report["output"] == {"mask": "organs.nii.gz", "overlay": "organs.png", "probability": {}}
    assert picture.stat().st_size > 1000
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "organs.labels.json", "organs.nii.gz", "organs.png", "organs.report.json",
    ]  # fmt: skip


def test_it_says_what_the_weights_recognised(files, tmp_path, capsys, monkeypatch):
    def seen(query, examples, models, limits):
        yield from ()
        known = Known("set", (1, 2), ("first part", "second part"), 0.873)
        return Opinion(known, np.zeros(query.shape, np.float16)) if len(examples[0].slices) == 1 else None

    monkeypatch.setattr(within_scan, "opinion_steps", seen)
    assert segment(files, tmp_path / "a.nii.gz", "--weights", "default") == 0
    told = capsys.readouterr().out
    assert "liver: recognised as first part, second part (overlap 0.87 where it was labelled)" in told
    report = json.loads((tmp_path / "a.report.json").read_text())
    assert report["recognised"]["1"]["names"] == ["first part", "second part"]


def test_the_report_can_repeat_the_run(files, tmp_path):
    assert segment(files, tmp_path / "a.nii.gz", "--set", "threshold=0.7", "--set", "refine=") == 0
    report = json.loads((tmp_path / "a.report.json").read_text())
    assert report["settings"]["threshold"] == 0.7
    assert report["command"][:2] == ["medssl", "segment"]
    assert {"napari_medssl", "libraries", "seed", "seconds", "weights"} <= set(report)
    assert read(files / "scan.nii.gz").content_hash in json.dumps(report)
    assert segment(files, tmp_path / "b.nii.gz", "--settings", tmp_path / "a.report.json") == 0
    a, b = (hashlib.sha256(read(tmp_path / n).data.tobytes()).digest() for n in ("a.nii.gz", "b.nii.gz"))
    assert a == b


def test_nothing_is_overwritten_without_force(files, tmp_path, capsys):
    out = tmp_path / "organs.nii.gz"
    out.write_bytes(b"mine")
    assert segment(files, out) == 1
    assert "add --force" in capsys.readouterr().err
    assert out.read_bytes() == b"mine"
    assert segment(files, out, "--force", "--slices", "6:9") == 0
    labels = read(out, labels=True).data
    assert np.flatnonzero(labels.any((1, 2))).tolist() == [6, 7, 8]


def test_a_folder_that_takes_no_files_is_refused_before_the_work(files, tmp_path, capsys, monkeypatch):
    def refuse(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("napari_medssl.io.folders.tempfile.TemporaryFile", refuse)
    monkeypatch.setattr("napari_medssl.io.read", lambda *_, **__: pytest.fail("the scan was read first"))
    assert segment(files, tmp_path / "organs.nii.gz") == 1
    assert f"cannot write into the folder {tmp_path} (Permission denied)" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_report_that_is_there_counts_as_output(files, tmp_path, capsys):
    (tmp_path / "organs.report.json").write_text("{}")
    assert segment(files, tmp_path / "organs.nii.gz") == 1
    assert "organs.report.json exists already" in capsys.readouterr().err


def test_the_input_is_never_an_output(files, capsys):
    before = (files / "support.nii.gz").read_bytes()
    assert segment(files, files / "support.nii.gz", "--force") == 1
    assert "is also an input" in capsys.readouterr().err
    assert (files / "support.nii.gz").read_bytes() == before


def test_probabilities_lie_on_the_grid_of_the_scan(files, tmp_path):
    assert segment(files, tmp_path / "organs.seg.nrrd", "--probability") == 0
    chance = read(tmp_path / "organs.probability-1.nrrd")
    labels = read(tmp_path / "organs.seg.nrrd", labels=True)
    assert np.allclose(chance.affine, labels.affine, atol=1e-3)
    assert chance.data.min() == pytest.approx(0, abs=0.05)
    assert chance.data.max() == pytest.approx(1, abs=0.05)
    assert chance.data[labels.data == 1].mean() > chance.data[labels.data == 0].mean()


def test_a_mask_turned_another_way_than_its_scan_is_understood(files, tmp_path):
    image = nib.load(files / "support.nii.gz")
    turned = image.as_reoriented(nib.orientations.axcodes2ornt(("P", "I", "R")))
    nib.save(turned, tmp_path / "turned.nii.gz")
    base = ["segment", str(files / "scan.nii.gz"), "--weights", "none", "-q"]
    for name, mask in (("a", files / "support.nii.gz"), ("b", tmp_path / "turned.nii.gz")):
        assert main([*base, "--support-mask", str(mask), "--out", str(tmp_path / f"{name}.nii.gz")]) == 0
    assert np.array_equal(read(tmp_path / "a.nii.gz").data, read(tmp_path / "b.nii.gz").data)


def test_a_mask_of_another_scan_is_refused(files, tmp_path, capsys):
    _, truth = phantom("CT", shape=(6, 32, 32))
    write(tmp_path / "other.nii.gz", truth)
    arguments = ["segment", str(files / "scan.nii.gz"), "--support-mask", str(tmp_path / "other.nii.gz")]
    assert main([*arguments, "--out", str(tmp_path / "o.nii.gz")]) == 1
    assert "the grids differ" in capsys.readouterr().err


def test_another_scan_can_be_the_support(files, tmp_path):
    scan, truth = phantom("CT", shape=SHAPE, seed=1)
    write(tmp_path / "other.nii.gz", scan)
    write(tmp_path / "labels.nii.gz", one_mask(truth))
    more = ["--support-image", tmp_path / "other.nii.gz", "--set", "method=prototypes"]
    base = ["segment", str(files / "scan.nii.gz"), "--support-mask", str(tmp_path / "labels.nii.gz"), "-q"]
    assert main([*base, "--out", str(tmp_path / "o.nii.gz"), "--weights", "none", *map(str, more)]) == 0
    report = json.loads((tmp_path / "o.report.json").read_text())
    assert report["method"] == "prototypes"
    assert read(tmp_path / "o.nii.gz").shape == SHAPE


def one_mask(truth):
    data = np.zeros(truth.shape, np.uint8)
    data[4:7] = truth.data[4:7] == 1
    return truth.like(data)


@pytest.mark.parametrize("missing", ["--out", "--support-mask"])
def test_what_is_missing_is_named(files, capsys, missing):
    given = {"--out": "o.nii.gz", "--support-mask": str(files / "support.nii.gz")}
    given.pop(missing)
    assert main(["segment", str(files / "scan.nii.gz"), *(a for pair in given.items() for a in pair)]) == 2
    assert missing in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--set", "thresold=1"], "did you mean 'threshold'"),
        (["--slices", "4"], "is no range"),
        (["--device", "abacus"], "no device is called 'abacus'"),
        (["--weights", "absent"], "no weights are called 'absent'"),
    ],
)
def test_mistakes_are_sentences(files, tmp_path, capsys, more, message):
    base = ["segment", str(files / "scan.nii.gz"), "--support-mask", str(files / "support.nii.gz"), "-q"]
    assert main([*base, "--out", str(tmp_path / "o.nii.gz"), *more]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_ending_is_refused_before_the_work(files, tmp_path, capsys):
    assert segment(files, tmp_path / "o.tiff") == 1
    assert "cannot write o.tiff" in capsys.readouterr().err


def test_settings_are_listed_from_the_dataclass(capsys):
    assert main(["segment", "--list-settings"]) == 0
    out = capsys.readouterr().out
    assert "propagation.step_mm" in out
    assert "auto | learned | random-walker | prototypes" in out
