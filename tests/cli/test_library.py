"""`medssl library` and `medssl segment --library`, from files to files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from napari_medssl.cli import main
from napari_medssl.cli.segment_many import names_for
from napari_medssl.errors import FormatError
from napari_medssl.io import read, write
from napari_medssl.library import Library
from tests.library.conftest import labels, scan


@pytest.fixture
def files(tmp_path) -> Path:
    """Three scans with dense labels 1 and 2."""
    for n in range(3):
        volume = scan(n)
        write(tmp_path / f"p{n}.nii.gz", volume)
        write(tmp_path / f"p{n}_mask.nii.gz", volume.like(labels()))
    return tmp_path


def library(files: Path, action: str, *more, n: tuple[int, ...] = (0,)) -> int:
    images = [str(files / f"p{i}.nii.gz") for i in n]
    masks = [str(files / f"p{i}_mask.nii.gz") for i in n]
    return main(
        ["library", action, str(files / "l.medssl"), "--image", *images, "--mask", *masks, "-q", *map(str, more)]
    )


def segment(files: Path, out: Path, *more, n: tuple[int, ...] = (1, 2)) -> int:
    base = ["segment", "--library", str(files / "l.medssl"), *(str(files / f"p{i}.nii.gz") for i in n)]
    return main([*base, "--out", str(out), "--weights", "none", "--device", "cpu", *map(str, more)])


def test_create_add_list_remove(files, capsys):
    more = [
        "--organ",
        "liver=1",
        "--organ",
        "spleen=2",
        "--licence",
        "CC0-1.0",
        "--scanner",
        "1.5 T",
        "--note",
        "my own",
    ]
    assert library(files, "create", *more) == 0
    assert "added: liver 1, spleen 1" in capsys.readouterr().out
    assert library(files, "add", "--organ", "liver=1", n=(1, 2)) == 0
    assert "4 examples of 2 organs on 3 scans" in capsys.readouterr().out
    assert main(["library", "remove", str(files / "l.medssl"), "liver 2"]) == 0
    capsys.readouterr()
    assert main(["library", "list", str(files / "l.medssl")]) == 0
    table = capsys.readouterr().out
    row = next(line for line in table.splitlines() if line.startswith("liver 1"))
    assert "3 x 1.5 x 1.5" in row and "1.5 T" in row and "CC0-1.0" in row and "my own" in row  # noqa: PT018
    assert "liver 2" not in table
    assert "liver 3" in table
    assert main(["library", "list", str(files / "l.medssl"), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert [e["name"] for e in facts["examples"]] == ["liver 1", "spleen 1", "liver 3"]
    assert facts["examples"][0]["slices"] == [4, 7, 9]  # of slices 3 to 9 the middles of three parts


@pytest.mark.parametrize(
    ("more", "slices"),
    [(["--slices", "5,7"], [5, 7]), (["--per-organ", "1"], [6]), (["--per-organ", "0"], [3, 4, 5, 6, 7, 8, 9])],
)
def test_which_slices(files, more, slices):
    assert library(files, "create", "--organ", "liver=1", *more) == 0
    assert list(Library.load(files / "l.medssl").examples[0].slices) == slices


def test_how_much_is_kept(files):
    sizes = {}
    for keep in ("whole", "slices", "crop"):
        assert library(files, "create", "--force", "--keep", keep, "--margin-mm", "3", "--slices", "6") == 0
        sizes[keep] = (files / "l.medssl").stat().st_size
    assert sizes["crop"] < sizes["slices"] < sizes["whole"]


def test_nothing_is_lost(files, capsys):
    assert library(files, "create") == 0
    before = (files / "l.medssl").read_bytes()
    assert library(files, "create", n=(1,)) == 1
    assert "add --force to replace it" in capsys.readouterr().err
    assert library(files, "add") == 1
    assert "nothing was added: organ 1 on these slices is in the library already" in capsys.readouterr().err
    (files / "p2_mask.nii.gz").write_bytes(b"broken")
    assert library(files, "add", n=(1, 2)) == 1
    assert (files / "l.medssl").read_bytes() == before


@pytest.mark.parametrize(
    ("action", "more", "code", "message"),
    [
        ("create", ["--organ", "liver"], 1, "--organ 'liver' is no organ; write NAME=VALUE"),
        ("create", ["--organ", "a=1", "--organ", "b=1"], 1, "names the label 1 twice"),
        ("create", ["--organ", "kidney=7"], 1, "has no label 7 (kidney); its labels are: 1, 2"),
        ("create", ["--slices", "0"], 1, "has no label on slice 0"),
        ("create", ["--slices", "a"], 1, "is no list of slices"),
        ("create", ["--per-organ", "-1"], 1, "--per-organ is -1"),
        ("create", ["--margin-mm", "-5"], 1, "margin_mm is -5"),
        ("add", [], 1, "there is no library at"),
        ("list", [], 1, "there is no library at"),
        ("remove", [], 2, "also needs the NAME"),
    ],
)
def test_mistakes_are_sentences(files, capsys, action, more, code, message):
    assert library(files, action, *more) == code
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (files / "l.medssl").exists()


def test_images_and_masks_are_pairs(files, capsys):
    assert main(["library", "create", str(files / "l.medssl"), "--image", "a", "b", "--mask", "c"]) == 2
    assert "2 scans with 1 masks" in capsys.readouterr().err
    assert main(["library", "create", str(files / "l.medssl")]) == 2
    assert "needs --image and --mask" in capsys.readouterr().err


def test_several_scans_one_result_each_and_what_it_was_made_with(files, capsys):
    assert library(files, "create", "--organ", "liver=1", "--licence", "CC0-1.0", n=(0, 1)) == 0
    out = files / "out"
    assert segment(files, out, "-q", "--examples", "1", "--probability") == 0
    assert "2 of 2 scans segmented" in capsys.readouterr().out
    names = sorted(p.name for p in out.iterdir())
    ends = (".labels.json", ".nii.gz", ".probability-1.nii.gz", ".report.json")
    assert names == [f"p{n}{end}" for n in (1, 2) for end in ends]
    made = read(out / "p2.nii.gz", labels=True)
    assert made.labels[0].name == "liver"
    report = json.loads((out / "p2.report.json").read_text())
    (used,) = [e for e in report["library"]["examples"] if e["used"]]
    assert used["name"] in ("liver 1", "liver 2")
    assert used["licence"] == "CC0-1.0"
    assert report["library_file"]["sha256"] == Library.load(files / "l.medssl").file_sha256
    own = json.loads((out / "p1.report.json").read_text())["library"]["examples"]
    assert [(e["name"], e["own_scan"]) for e in own if e["used"]] == [("liver 2", True)]
    np.testing.assert_array_equal(read(out / "p1.nii.gz", labels=True).data[6], labels()[6] == 1)


def test_one_bad_scan_does_not_stop_the_others(files, capsys):
    assert library(files, "create") == 0
    (files / "p1.nii.gz").write_bytes(b"no scan")
    assert segment(files, files / "out", "-q") == 1
    told = capsys.readouterr()
    assert "1 of 2 scans segmented" in told.out
    assert "p1.nii.gz" in told.err
    assert (files / "out" / "p2.report.json").is_file()
    assert not (files / "out" / "p1.nii.gz").exists()


def test_what_is_there_is_kept_when_it_is_the_same(files, capsys):
    assert library(files, "create", "--organ", "liver=1") == 0
    out = files / "out"
    assert segment(files, out, "-q", n=(2,)) == 0
    stamp = (out / "p2.nii.gz").stat().st_mtime_ns
    assert segment(files, out) == 0
    assert "p2.nii.gz is there already, from the same scan, library and settings" in capsys.readouterr().err
    assert (out / "p2.nii.gz").stat().st_mtime_ns == stamp
    assert (out / "p1.nii.gz").is_file()
    assert segment(files, out, "-q", "--set", "threshold=0.6", n=(2,)) == 1
    assert "exists already; add --force" in capsys.readouterr().err
    shutil.copy(files / "p0.nii.gz", files / "p2.nii.gz")
    assert segment(files, out, "-q", n=(2,)) == 1  # another scan under the same name
    assert (out / "p2.nii.gz").stat().st_mtime_ns == stamp
    assert segment(files, out, "-q", "--force", n=(2,)) == 0
    assert (out / "p2.nii.gz").stat().st_mtime_ns > stamp


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--support-mask", "m.nii.gz"], 2, "--support-mask does not go with --library"),
        (["--overlay", "o.png"], 2, "--overlay does not go with --library"),
        (["--organs", "kidney"], 1, "has no example of 'kidney'; its organs are: organ 1, organ 2"),
        (["--ending", "tiff"], 1, "cannot write mask.tiff"),
        (["--examples", "-2"], 1, "per_organ is -2"),
    ],
)
def test_segment_mistakes_are_sentences(files, capsys, more, code, message):
    assert library(files, "create") == 0
    capsys.readouterr()
    assert segment(files, files / "out", "-q", *more) == code
    assert message in capsys.readouterr().err
    assert not (files / "out").exists()


def test_several_scans_need_a_library(capsys):
    assert main(["segment", "a.nii", "b.nii", "--support-mask", "m.nii", "--out", "o.nii"]) == 2
    assert "several need --library" in capsys.readouterr().err
    assert main(["segment", "a.nii", "--support-mask", "m.nii", "--out", "o.nii", "--organs", "liver"]) == 2
    assert "need --library" in capsys.readouterr().err


def test_results_of_different_scans_have_different_names():
    assert names_for([Path("a/s.nii.gz"), Path("b/s.nii.gz")], "seg.nrrd") == ["a_s.seg.nrrd", "b_s.seg.nrrd"]
    with pytest.raises(FormatError, match="would both be called a_s.nii.gz"):
        names_for([Path("a/s.nii.gz"), Path("x/../a/s.nrrd")], ".nii.gz")


def test_features_are_kept_on_demand(files):
    assert library(files, "create", "--features", "--weights", "none", "--device", "cpu") == 0
    assert len(Library.load(files / "l.medssl").features) == 1


def test_measuring_prints_every_way_to_choose(files, capsys):
    for kind in ("images", "labels"):
        (files / "data" / kind).mkdir(parents=True)
    for n in range(3):
        shutil.copy(files / f"p{n}.nii.gz", files / "data" / "images" / f"p{n}.nii.gz")
        shutil.copy(files / f"p{n}_mask.nii.gz", files / "data" / "labels" / f"p{n}.nii.gz")
    arguments = ["library", "measure", str(files / "data"), "--members", "2", "--out", str(files / "m.json")]
    assert main([*arguments, "--weights", "none", "--device", "cpu", "-q"]) == 0
    table = capsys.readouterr().out
    assert all(way in table for way in ("always the first", "one at random", "best-matching 1", "all"))
    report = json.loads((files / "m.json").read_text())
    assert {t["scan"] for t in report["trials"]} == {"p1.nii.gz"}
    assert report["engine"]["weights"]["sha256"]
