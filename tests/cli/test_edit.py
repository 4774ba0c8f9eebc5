"""`medssl edit` does what the operations do, writes it on the same grid and says how."""

import json

import numpy as np
import pytest

from napari_medssl.cli import main
from napari_medssl.edit import Scope, edit, operations
from napari_medssl.io import read, write, write_segmentation
from napari_medssl.labels import Label
from napari_medssl.volume import Volume

AFFINE = np.array([[0, 0, -1.5, 8.0], [0, -1.5, 0, 6.0], [3.0, 0, 0, -9.0], [0, 0, 0, 1]])
LABELS = (Label(1, "liver", (1, 2, 3)), Label(3, "left kidney", (4, 5, 6)))


@pytest.fixture
def files(tmp_path):
    """A label map with a hole in the liver, a scan whose bright half is the liver's left, a second map."""
    data = np.zeros((6, 14, 16), np.uint8)
    data[1:5, 2:10, 2:8] = 1
    data[2, 5, 5] = 0
    data[1:5, 2:10, 9:14] = 3
    scan = np.zeros(data.shape, np.float32)
    scan[..., :6] = 100
    other = np.zeros_like(data)
    other[:, :5] = 7
    paths = {name: tmp_path / f"{name}.nii.gz" for name in ("mask", "scan", "other", "painted")}
    write_segmentation(paths["mask"], Volume(data, AFFINE, labels=LABELS))
    write(paths["scan"], Volume(scan, AFFINE))
    write_segmentation(paths["other"], Volume(other, AFFINE))
    painted = np.zeros_like(data)
    painted[2] = data[2]
    write_segmentation(paths["painted"], Volume(painted, AFFINE))
    return paths


def run(files, *arguments, out="out.nii.gz"):
    """The exit code and what was written."""
    path = files["mask"].with_name(out)
    code = main(["edit", str(files["mask"]), *map(str, arguments), "--out", str(path)])
    return code, path


def test_operations_follow_each_other(files, capsys):
    code, path = run(files, "--do", "fill-holes", "--do", "grow mm=1.5 slice_by_slice=true", "--label", "liver")
    assert code == 0
    before, after = read(files["mask"], labels=True), read(path, labels=True)
    expected = before
    for operation in (operations["fill-holes"](), operations["grow"](mm=1.5, slice_by_slice=True)):
        expected = before.like(edit(expected, operation, scope=Scope(organs=(1,))).applied(expected.data))
    np.testing.assert_array_equal(after.data, expected.data)
    np.testing.assert_allclose(after.affine, before.affine)
    assert after.labels == LABELS
    assert (after.data[1:5, 2:10, 2:8] == 1).all()
    report = json.loads(path.with_name("out.report.json").read_text())
    assert [e["do"] for e in report["edits"]] == [
        "fill-holes widest_mm=0 slice_by_slice=true", "grow mm=1.5 slice_by_slice=true"
    ]  # fmt: skip
    assert report["edits"][0]["voxels"] == {"1": {"added": 1, "removed": 0}}
    assert report["edits"][1]["organs"] == [1]
    assert report["mask_sha256"] == before.content_hash
    shown = capsys.readouterr().out
    assert "liver" in shown
    assert "+" in shown


def test_intensities_of_the_scan(files):
    code, path = run(files, "--image", files["scan"], "--do", "keep-range low=50 high=150", "--label", "1")
    assert code == 0
    data = read(path, labels=True).data
    assert np.flatnonzero((data == 1).any(axis=(0, 1))).tolist() == [2, 3, 4, 5]
    assert (data == 3).sum() == (read(files["mask"], labels=True).data == 3).sum()


def test_combining_with_another_mask(files):
    code, path = run(
        files, "--other", files["other"], "--do", "combine how=difference labels=7", "--label", "Left Kidney"
    )
    assert code == 0
    data = read(path, labels=True).data
    assert np.flatnonzero((data == 3).any(axis=(0, 2))).tolist() == [5, 6, 7, 8, 9]


def test_painted_slices_and_chosen_slices_are_kept(files):
    before = read(files["mask"], labels=True).data
    code, path = run(files, "--painted", files["painted"], "--do", "shrink mm=2", "--slices", "1:4")
    assert code == 0
    data = read(path, labels=True).data
    assert [bool((data[z] != before[z]).any()) for z in range(6)] == [False, True, False, True, False, False]
    code, path = run(
        files,
        "--painted",
        files["painted"],
        "--change-painted",
        "--do",
        "shrink mm=2",
        "--slices",
        "2:3",
        out="b.nii.gz",
    )
    assert (read(path, labels=True).data[2] != before[2]).any()


def test_other_organs_give_way_only_when_told(files):
    before = read(files["mask"], labels=True).data
    _, path = run(files, "--do", "grow mm=4", "--label", "liver")
    np.testing.assert_array_equal(read(path, labels=True).data == 3, before == 3)
    _, path = run(files, "--do", "grow mm=4", "--label", "liver", "--overwrite", out="b.nii.gz")
    assert (read(path, labels=True).data == 3).sum() < (before == 3).sum()


def test_a_new_organ_from_another_mask_in_a_slicer_file(files):
    code, path = run(files, "--other", files["other"], "--do", "combine", "--label", "9", out="out.seg.nrrd")
    assert code == 0
    made = read(path, labels=True)
    assert (made.data == 9).any()
    assert [label.value for label in made.labels] == [1, 3, 9]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--do", "smoth mm=2"], "did you mean 'smooth'"),
        (["--do", "smooth mmm=2"], "no setting is called 'mmm'; did you mean 'mm'"),
        (["--do", "smooth 2"], "'2' has no '='; write SETTING=VALUE"),
        (["--do", "smooth mm=two"], "mm cannot be 'two'"),
        (["--do", "smooth mm=0"], "mm is 0; it must be at least 0.1"),
        (["--do", "combine labels=x"], "labels cannot be 'x'; it takes int,..."),
        (["--do", ""], "no editing operation is called ''"),
        (["--do", "smooth", "--label", "spleen"], "no organ of the mask is called 'spleen'; choose of: liver (1)"),
        (["--do", "keep-range low=1 high=2"], "keep-range looks at intensities"),
        (["--do", "smooth", "--slices", "4:99"], "lies outside the scan"),
        (["--do", "smooth", "--label", "2"], "organ 2 has no voxel in the label map"),
    ],
)
def test_mistakes_are_named_and_nothing_is_written(files, arguments, sentence, capsys):
    code, path = run(files, *arguments)
    assert code == 1
    assert sentence in capsys.readouterr().err
    assert not path.exists()


def test_the_mask_itself_is_never_replaced(files, capsys):
    assert main(["edit", str(files["mask"]), "--do", "smooth", "--out", str(files["mask"]), "--force"]) == 1
    assert "is also an input" in capsys.readouterr().err
    assert main(["edit", str(files["mask"])]) == 2
    assert "edit also needs --do, --out" in capsys.readouterr().err


def test_all_operations_are_listed(capsys):
    assert main(["edit", "--list-settings"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in operations)
    assert "slice_by_slice" in shown
