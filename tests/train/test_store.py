"""Scans prepared for training: grids, cache, bad files, subjects."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from napari_medssl.errors import FormatError
from napari_medssl.progress import finish
from napari_medssl.train.dataset import Case, cases_in
from napari_medssl.train.grid import Grid
from napari_medssl.train.store import load_scans, scans_digest, subject_of
from tests.io.conftest import slice_dataset


def write(folder: Path, name: str, shape: tuple[int, int, int], *, label: bool = False) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(name))
    data = np.zeros(shape, np.uint8) if label else rng.normal(100, 30, shape).astype(np.float32)
    if label:
        data[2:5, 2:5, 1:3] = 7
    path = folder / name
    nib.save(nib.Nifti1Image(data, np.diag([2.0, 1.0, 3.0, 1.0])), path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a_01.nii.gz", "a_02.nii.gz"):
        write(tmp_path / "set" / "images", name, (12, 10, 6))
        write(tmp_path / "set" / "labels", name, (12, 10, 6), label=True)
    return tmp_path / "set"


def test_framed_slices_are_square_and_labelled(folder: Path) -> None:
    scans = finish(load_scans(cases_in([folder]), Grid(size=24)))
    assert [s.name for s in scans] == ["a_01.nii.gz", "a_02.nii.gz"]
    assert {s.shape for s in scans} == {(6, 24, 24)}
    assert {s.subject for s in scans} == {"a_01", "a_02"}
    assert {s.group for s in scans} == {"set"}
    assert scans[0].spacing_mm == (3.0, 1.0, 1.0)
    assert scans[0].labels is not None
    assert set(np.unique(scans[0].labels)) == {0, 7}
    assert scans[0].image.max() > 240
    assert scans[0].image.dtype == np.uint8


def test_volumes_are_resampled_to_the_spacing(folder: Path) -> None:
    own = finish(load_scans(cases_in([folder]), Grid()))[0]
    assert sorted(own.shape) == [6, 10, 12]
    assert own.spacing_mm[0] == 3.0
    even = finish(load_scans(cases_in([folder]), Grid(spacing_mm=1.0)))[0]
    assert even.spacing_mm == (1.0, 1.0, 1.0)
    assert even.shape == tuple(round(n * s) for n, s in zip(own.shape, own.spacing_mm, strict=True))
    assert even.labels is not None
    assert own.labels is not None
    volume = [float((s.labels == 7).sum() * np.prod(s.spacing_mm)) for s in (own, even) if s.labels is not None]
    assert volume[0] == pytest.approx(volume[1], rel=0.01)


def test_the_cache_is_opened_and_not_read_again(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = cases_in([folder])
    first = finish(load_scans(cases, Grid(size=24), cache=tmp_path / "cache"))

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr("napari_medssl.train.store.read", refuse)
    again = finish(load_scans(cases, Grid(size=24), cache=tmp_path / "cache"))
    assert isinstance(again[0].image, np.memmap)
    np.testing.assert_array_equal(first[1].image, again[1].image)
    np.testing.assert_array_equal(first[1].labels, again[1].labels)
    assert scans_digest(first) == scans_digest(again)
    with pytest.raises(AssertionError, match="read again"):
        finish(load_scans(cases, Grid(size=16), cache=tmp_path / "cache"))


def test_a_changed_file_is_prepared_anew(folder: Path, tmp_path: Path) -> None:
    cases = cases_in([folder])
    first = finish(load_scans(cases, Grid(size=24), cache=tmp_path / "cache"))
    write(folder / "images", "a_01.nii.gz", (12, 8, 6))
    write(folder / "labels", "a_01.nii.gz", (12, 8, 6), label=True)
    again = finish(load_scans(cases, Grid(size=24), cache=tmp_path / "cache"))
    assert not np.array_equal(first[0].image, again[0].image)
    np.testing.assert_array_equal(first[1].image, again[1].image)
    assert scans_digest(first) != scans_digest(again)


def test_a_bad_file_is_named_and_left_out(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "images" / "a_03.nii.gz").write_bytes(b"not a scan")
    with caplog.at_level(logging.WARNING):
        scans = finish(load_scans(cases_in([folder]), Grid(size=16)))
    assert len(scans) == 2
    assert "a_03.nii.gz" in caplog.text
    with pytest.raises(FormatError, match=r"cannot train on .*a_03\.nii\.gz"):
        finish(load_scans(cases_in([folder]), Grid(size=16), bad_files="stop"))


def test_a_cache_that_cannot_be_written_is_no_bad_scan(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    steps = load_scans(cases_in([folder]), Grid(size=16), cache=tmp_path / "cache")
    next(steps)
    (tmp_path / "cache").rmdir()
    with pytest.raises(FormatError, match=r"prepared scans cannot be kept: cannot write .* choose another folder"):
        finish(steps)


def test_label_map_of_another_shape_is_a_bad_file(folder: Path) -> None:
    write(folder / "labels", "a_01.nii.gz", (12, 9, 6), label=True)
    with pytest.raises(FormatError, match="has shape .* but its image has"):
        finish(load_scans(cases_in([folder]), Grid(size=16), bad_files="stop"))


def test_nothing_readable_is_an_error(tmp_path: Path) -> None:
    bad = tmp_path / "x.nii.gz"
    bad.write_bytes(b"no")
    with pytest.raises(FormatError, match="none of the 1 scans could be read; the first: x.nii.gz"):
        finish(load_scans([Case(bad, None, "g")], Grid(size=16)))


def test_single_files_and_folders_become_cases(folder: Path, tmp_path: Path) -> None:
    single = write(tmp_path / "loose", "scan.nii.gz", (6, 6, 4))
    cases = cases_in([folder / "images" / "a_02.nii.gz", single, tmp_path / "loose"], exclude=("b",))
    assert [c.group for c in cases] == ["set", "loose", "loose"]
    assert cases[0].labels == folder / "labels" / "a_02.nii.gz"
    assert cases[1].labels is None
    assert [c.image.name for c in cases_in([folder], exclude=("a_01",))] == ["a_02.nii.gz"]


def test_dicom_folders_become_one_case_per_series(shared_data: Path) -> None:
    root = shared_data / "dicom" / "chaos_t1dual_case10"
    cases = cases_in([root])
    assert [c.image.name for c in cases] == ["InPhase", "OutPhase"]  # two folders under one series UID
    assert len({c.person for c in cases}) == 1
    scans = finish(load_scans(cases[:1], Grid(size=64)))
    assert scans[0].shape[1:] == (64, 64)
    assert scans[0].shape[0] > 10


def test_dicom_series_belong_to_their_patients(tmp_path: Path) -> None:
    def save(place: str, uid: str, patient: str) -> None:
        (tmp_path / place).mkdir(parents=True)
        for k in range(3):
            pixels = np.full((8, 8), 40 * k, np.int16)
            tags = {"PatientID": patient, "SeriesInstanceUID": uid}
            slice_dataset(pixels, (0, 0, 3 * k), **tags).save_as(
                tmp_path / place / f"{k}.dcm", enforce_file_format=True
            )

    save("A/T1", "1.1", "P7")
    save("A/T2", "1.2", "P7")
    save("B/T1", "1.3", "P8")
    save("C/T1", "1.4", "")
    save("D/T1", "1.5", "")
    subjects = [s.subject for s in finish(load_scans(cases_in([tmp_path]), Grid(size=16)))]
    assert subjects[:3] == ["P7", "P7", "P8"]
    assert len(set(subjects)) == 4  # T1 of nobody known is not the T1 of everybody


@pytest.mark.parametrize(
    ("name", "subject"),
    [
        ("sub-ct_label-22_ct.nii.gz", "sub-ct"),
        ("SC-HF-I-01_ED.nii.gz", "SC-HF-I-01"),
        ("SC-HF-I-01_ES.nii.gz", "SC-HF-I-01"),
        ("BRATS_001_0000.nii.gz", "BRATS_001"),
        ("BRATS_001_0001.nii.gz", "BRATS_001"),
        ("hippocampus_001.nii.gz", "hippocampus_001"),
        ("chris_t1.nii.gz", "chris_t1"),
        ("MR_Gd.nii.gz", "MR_Gd"),
        ("img_0001.nii", "img_0001"),
        ("BraTS20_Training_001_t1ce.nii.gz", "BraTS20_Training_001"),
        ("BraTS20_Training_001_flair.nii.gz", "BraTS20_Training_001"),
        ("BraTS-GLI-00005-000-t2w.nii.gz", "BraTS-GLI-00005-000"),
        ("IXI002-Guys-0828-T1.nii.gz", "IXI002-Guys-0828"),
        ("patient001_frame12.nii.gz", "patient001"),
        ("patient001_4d.nii.gz", "patient001"),
    ],
)
def test_subject_of_a_name(name: str, subject: str) -> None:
    assert subject_of(name) == subject


def test_dicom_trees_keep_every_series_and_pass_over_folders_without_pictures(
    shared_data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    phases = sorted(p for p in (shared_data / "dicom" / "chaos_t1dual_case10").rglob("*") if p.is_dir())
    filled = next(p for p in phases if any(f.suffix == ".dcm" for f in p.iterdir() if f.is_file()))
    for name in ("visit1/scan", "visit2/scan"):  # the same series UID in two folders: a copy, or a scanner's mistake
        shutil.copytree(filled, tmp_path / "tree" / name)
    shutil.copytree(shared_data / "dicom" / "rtstruct", tmp_path / "tree" / "plans")
    with caplog.at_level(logging.WARNING):
        cases = cases_in([tmp_path / "tree"])
    assert [c.image.parent.name for c in cases if c.image.name == "scan"] == ["visit1", "visit2"]
    assert len({c.image for c in cases}) == len(cases)
