"""`medssl features` and `medssl similar`: what is written, on which grid, and what is refused."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from napari_medssl import Volume, cli, read, write
from napari_medssl.dense.files import load_grid

QUICK = ("--weights", "untrained3d", "--set", "extract.stages=1,2", "--set", "extract.spacing_mm=4", "-q")
SPHERE_MM = (12.0, -8.0, 24.0)


def phantom(seed: int) -> tuple[Volume, Volume]:
    """A noisy body with a bright ball at SPHERE_MM, and the ball's label map."""
    affine = np.array([[0, 0, -2.0, 46], [0, -2.0, 0, 46], [4.0, 0, 0, -20], [0, 0, 0, 1]])
    index = np.indices((20, 48, 48)).reshape(3, -1).T
    place = index @ affine[:3, :3].T + affine[:3, 3]
    ball = (np.linalg.norm(place - SPHERE_MM, axis=1) < 12).reshape(20, 48, 48)
    body = (np.linalg.norm(place[:, :2], axis=1) < 40).reshape(ball.shape)
    data = np.random.default_rng(seed).normal(0, 2, ball.shape) + 60 * body + 120 * ball
    volume = Volume(data.astype(np.float32), affine)
    return volume, volume.like(ball.astype(np.uint8))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two phantoms with labels, and a file that is no scan."""
    root = tmp_path_factory.mktemp("set")
    for name in ("images", "labels"):
        (root / name).mkdir()
    for n in range(2):
        volume, mask = phantom(n)
        write(root / "images" / f"p{n}.nii.gz", volume)
        write(root / "labels" / f"p{n}.nii.gz", mask)
    (root / "broken.nii.gz").write_bytes(b"no scan")
    return root


def run(*words: object, quick: bool = True, command: str = "features") -> int:
    return cli.main([command, *map(str, words), *(QUICK if quick else ())])


def test_grids_are_made_once_and_failures_are_told(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scans = sorted((folder / "images").iterdir())
    words = (*scans, folder / "broken.nii.gz", "--out", tmp_path / "out", "--ending", ".npz", "--no-workers")
    assert run(*words) == 1
    said = capsys.readouterr()
    assert "3 scans: 2 made, 1 failed" in said.out
    assert "broken.nii.gz is no NIfTI file" in said.err
    grid = load_grid(tmp_path / "out" / "p0.npz")
    assert grid.spacing_mm == (4.0, 4.0, 4.0)
    assert grid.source["sha256"] == read(scans[0]).content_hash
    report = json.loads((tmp_path / "out" / "features-grid.report.json").read_text())
    assert [s["state"] for s in report["scans"]] == ["done", "done", "failed"]
    assert report["settings"]["extract"]["spacing_mm"] == 4.0
    assert run(*words) == 1
    assert "3 scans: 2 there already, 1 failed" in capsys.readouterr().out
    assert run(*words, "--set", "extract.normalise=false") == 1
    assert "made with another settings; add --force" in capsys.readouterr().err


def test_colours_are_fitted_once_and_lie_on_the_scan(folder: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    scan = folder / "images" / "p0.nii.gz"
    options = ("--what", "pca", "--set", "colours.separate=true")
    assert run(scan, "--out", first, *options) == 0
    image = nibabel.load(first / "p0.colours.nii.gz")
    np.testing.assert_array_equal(image.affine, nibabel.load(scan).affine)
    rgb = np.asarray(image.dataobj)
    assert rgb.dtype.names == ("R", "G", "B")
    corner, middle = rgb[0, 0, 0], rgb[24, 24, 10]
    assert tuple(corner) == (0, 0, 0)  # the air around the body
    assert max(middle) > 20
    component = read(first / "p0.component-1.nii.gz")
    assert component.shape == read(scan).shape
    assert float(component.data.std()) > 0
    fitted = (first / "colours.npz").read_bytes()
    assert run(folder / "images" / "p1.nii.gz", "--out", first, *options) == 0
    assert (first / "colours.npz").read_bytes() == fitted  # a cohort that grows keeps its colours
    assert run(scan, "--out", second, "--what", "pca", "--colours", first / "colours.npz") == 0
    assert not (second / "colours.npz").exists()
    again = np.asarray(nibabel.load(second / "p0.colours.nii.gz").dataobj)
    np.testing.assert_array_equal(again, rgb)


def test_likeness_is_highest_where_it_was_asked_for(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--what", "similarity", "--no-workers")
    assert run(folder / "images", "--out", tmp_path / "at", *options, "--at", *SPHERE_MM) == 0
    assert "most alike (" in capsys.readouterr().out
    mask = folder / "labels" / "p0.nii.gz"
    words = (folder / "images", *options, "--region", mask, "--label")
    assert run(*words, 1, "--out", tmp_path / "region") == 0
    for way in ("at", "region"):
        for n in range(2):  # the second scan is compared with the ball of the first
            found = read(tmp_path / way / f"p{n}.similarity.nii.gz").data
            ball = phantom(n)[1].data > 0
            assert found[ball].mean() > found[~ball].mean() + 0.3
            assert -1 <= found.min() <= found.max() <= 1
    assert run(*words, 7, "--out", tmp_path / "none") == 1
    assert "has no label 7; it has 1" in capsys.readouterr().err
    assert run(folder / "images", "--out", tmp_path / "far", *options, "--at", 900, 0, 0) == 1
    assert "lies outside the features' field" in capsys.readouterr().err


def test_embeddings_make_a_table_and_an_index(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    words = (folder / "images", "--out", out, "--what", "embedding", "--regions", folder / "labels", "--no-workers")
    assert run(*words) == 0
    with (out / "embeddings.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [(r["scan"], r["region"]) for r in rows] == [("p0", "0"), ("p0", "1"), ("p1", "0"), ("p1", "1")]
    assert int(rows[1]["n_voxels"]) == int(phantom(0)[1].data.sum())
    assert rows[0]["name"] == "whole scan"
    assert (out / "embeddings.report.json").is_file()
    capsys.readouterr()
    scan, found = folder / "images" / "p0.nii.gz", tmp_path / "found.json"
    # Weights and settings are those of the index, whatever the defaults are.
    assert run(scan, "--index", out / "index.npz", "--out", found, "-q", quick=False, command="similar") == 0
    assert "p1.nii.gz" in capsys.readouterr().out
    (match,) = json.loads(found.read_text())["found"][str(scan)]
    assert match["name"] == str(folder / "images" / "p1.nii.gz")


def test_an_index_grows(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    index, scans = tmp_path / "hospital.npz", folder / "images"
    assert run("--index", index, "--add", scans / "p0.nii.gz", command="similar") == 0
    assert "with 1 scans" in capsys.readouterr().out
    words = ("--index", index, "--add", scans, folder / "broken.nii.gz", "--no-workers", "-q")
    assert run(*words, quick=False, command="similar") == 1
    said = capsys.readouterr()
    assert "3 scans: 1 made, 1 there already, 1 failed" in said.out
    assert "with 2 scans" in said.out
    assert run(scans / "p1.nii.gz", "--index", tmp_path / "none.npz", command="similar") == 1
    assert "there is no file" in capsys.readouterr().err
    assert run(command="similar") == 2


def test_two_worker_processes(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = (folder / "images", folder / "broken.nii.gz", "--out", tmp_path / "out", "--workers", 2, "--threads", 1)
    assert run(*words, "--device", "cpu") == 1
    said = capsys.readouterr()
    assert "3 scans: 2 made, 1 failed" in said.out
    assert said.err.count("\n") == 1  # the failure, and nothing of dask's own
    names = {p.name for p in (tmp_path / "out").iterdir()}
    made = {f"p{n}{end}" for n in range(2) for end in (".zarr", ".report.json")}
    assert names == {*made, "features-grid.report.json"}


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["a.nii"], "features also needs --out"),
        (["a.nii", "--out", "o", "--at", "1", "2", "3"], "--at goes with --what similarity"),
        (["a.nii", "--out", "o", "--colours", "c.npz"], "--colours goes with --what pca"),
        (["a.nii", "--out", "o", "--what", "similarity"], "give either --at X Y Z or --region MASK"),
        (["a.nii", "--out", "o", "--what", "similarity", "--at", "1", "2", "3", "--label", "1"], "--label goes with"),
        (["a.nii", "--out", "o", "--scheduler", "tcp://x:1", "--workers", "2"], "brings its own workers"),
    ],
)
def test_wrong_usage(words: list[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*words) == 2
    assert reason in capsys.readouterr().err


def test_mistakes_are_found_before_any_work(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scans = folder / "images"
    for words, reason in (
        (("--out", scans), "is also the folder of the scans"),
        (("--out", folder / "o", "--ending", ".csv"), "'.csv' is no ending of --what grid; use one of .zarr, .npz"),
        (("--out", folder / "o", "--set", "extract.stage=1"), "did you mean 'extract.stages'"),
    ):
        assert run(scans, *words) == 1
        assert reason in capsys.readouterr().err
    assert not (folder / "o").exists()
