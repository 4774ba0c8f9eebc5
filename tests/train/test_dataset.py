"""Scans for training: which are taken."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from napari_medssl import write
from napari_medssl.errors import FormatError
from napari_medssl.progress import finish
from napari_medssl.train.dataset import (
    Case,
    collect_cases,
)
from napari_medssl.train.grid import Grid
from napari_medssl.train.store import load_scans
from napari_medssl.volume import Volume

CASE = Case(Path("scan.nii"), None, "set")


def touch(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"")
    return folder


def names(cases: list[Case]) -> list[str]:
    return [c.image.name for c in cases]


def test_a_folder_of_pairs_gives_each_scan_its_labels(tmp_path: Path) -> None:
    touch(tmp_path / "set" / "images", "b.nii.gz", "a.nii.gz", "notes.txt", "c_seg.nii.gz")
    touch(tmp_path / "set" / "labels", "a.nii.gz", "c_seg.nii.gz", "unused.nii.gz")
    found = collect_cases([tmp_path / "set"])
    assert names(found) == ["a.nii.gz", "b.nii.gz", "c_seg.nii.gz"]  # sorted; in pairs a name means nothing
    assert [c.labels and c.labels.parent.name for c in found] == ["labels", None, "labels"]
    assert {c.group for c in found} == {"set"}


SCANS = ["CT_AVM.nii.gz", "chris_t1.nii", "example_ct_sm.mha", "segura-knee.nrrd", "sub-ct_label-22_ct.nii.gz"]
MAPS = [
    "example_seg.nii.gz",
    "example_seg_mr.nii.gz",
    "sub-ct_seg-vert_label-22_msk.nii.gz",
    "a_label.nrrd",
    "a-label.mhd",
    "b_label_map.nii.gz",
    "Liver-Mask.nii",
    "scan.seg.nrrd",
    "c_labels.nii.gz",
]


def test_any_other_folder_gives_scans_without_their_label_maps(tmp_path: Path) -> None:
    touch(tmp_path / "loose", *SCANS, *MAPS, "readme.md", "table.csv")
    found = collect_cases([tmp_path / "loose"])
    assert names(found) == sorted(SCANS)
    assert all(c.labels is None for c in found)


def test_held_out_scans_are_left_out_of_every_root(tmp_path: Path) -> None:
    touch(tmp_path / "one", "ct_00.nii", "ct_01.nii", "mr_00.nii")
    touch(tmp_path / "two", "ct_00.nii", "pet.nii")
    found = collect_cases([tmp_path / "two", tmp_path / "one"], exclude=("ct_00", "mr"))
    assert [(c.group, c.image.name) for c in found] == [("two", "pet.nii"), ("one", "ct_01.nii")]


def test_a_root_without_scans_is_told(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="missing is not a folder"):
        collect_cases([tmp_path / "missing"])
    with pytest.raises(FormatError, match=r"no scan \(\.nii, .*\) in .*only_maps"):
        collect_cases([touch(tmp_path / "only_maps", "a_seg.nii.gz")])


def cube(
    shape: tuple[int, int, int] = (3, 40, 60), spacing: tuple[float, float, float] = (5.0, 1.0, 1.0)
) -> np.ndarray:
    data = np.zeros(shape, np.float32)
    data[1, 10:30, 20:50] = 100
    return data


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A set with one good pair, one pair that does not fit, and one broken file."""
    for folder in ("images", "labels"):
        (tmp_path / "set" / folder).mkdir(parents=True)
    volume = Volume(cube(), np.diag([5.0, 1.0, 1.0, 1.0]))
    for name in ("good", "odd"):
        write(tmp_path / "set" / "images" / f"{name}.nii.gz", volume)
    write(tmp_path / "set" / "labels" / "good.nii.gz", volume.like((volume.data > 50).astype(np.uint8)))
    write(tmp_path / "set" / "labels" / "odd.nii.gz", Volume(np.ones((3, 40, 59), np.uint8), volume.affine))
    (tmp_path / "set" / "images" / "broken.nii.gz").write_bytes(b"\x1f\x8bnothing")
    return tmp_path / "set"


def test_a_pair_is_read_from_disk(disk: Path) -> None:
    case = next(c for c in collect_cases([disk]) if c.image.name == "good.nii.gz")
    (scan,) = finish(load_scans([case], Grid(size=60)))
    assert scan.labels is not None
    assert (scan.labels == 1).sum() == 600
    assert (scan.name, scan.group) == ("good.nii.gz", "set")


def test_what_cannot_be_read_is_named_and_left_out(disk: Path, caplog: pytest.LogCaptureFixture) -> None:
    reports: list[str] = []
    with caplog.at_level(logging.WARNING):
        scans = finish(load_scans(collect_cases([disk]), Grid(size=60)), lambda p: reports.append(p.label))
    assert [s.name for s in scans] == ["good.nii.gz"]
    assert reports == ["reading broken.nii.gz", "reading good.nii.gz", "reading odd.nii.gz"]
    assert "left out" in caplog.text
    assert "broken.nii.gz" in caplog.text
    assert "odd.nii.gz has shape" in caplog.text


def test_nothing_readable_is_an_error(disk: Path) -> None:
    cases = [c for c in collect_cases([disk]) if c.image.name != "good.nii.gz"]
    with pytest.raises(FormatError, match="none of the 2 scans could be read"):
        finish(load_scans(cases, Grid(size=60)))
