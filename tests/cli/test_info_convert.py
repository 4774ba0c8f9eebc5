"""`medssl info` and `medssl convert`."""

import json

import numpy as np
import pytest
import SimpleITK as sitk

from napari_medssl.cli import main
from napari_medssl.io import read, write
from napari_medssl.samples.phantom import phantom


@pytest.fixture
def files(tmp_path):
    scan, labels = phantom("CT", shape=(6, 32, 32))
    write(tmp_path / "scan.nii.gz", scan)
    write(tmp_path / "labels.nii.gz", labels)
    return tmp_path


def test_info_for_people(files, capsys):
    assert main(["info", str(files / "labels.nii.gz")]) == 0
    out = capsys.readouterr().out
    assert "6 slices of 32 x 32 pixels (uint8)" in out
    assert "axial" in out
    assert main(["info", str(files / "scan.nii.gz")]) == 0


def test_info_for_programs(files, capsys):
    assert main(["info", "--json", str(files / "scan.nii.gz")]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["shape_zyx"] == [6, 32, 32]
    assert facts["sha256"] == read(files / "scan.nii.gz").content_hash


def test_a_converted_scan_lies_where_it_lay(files, capsys):
    assert main(["convert", str(files / "scan.nii.gz"), str(files / "scan.mha")]) == 0
    before, after = sitk.ReadImage(str(files / "scan.nii.gz")), sitk.ReadImage(str(files / "scan.mha"))
    assert np.array_equal(sitk.GetArrayFromImage(before), sitk.GetArrayFromImage(after))
    corner = (31, 31, 5)
    assert np.allclose(
        before.TransformIndexToPhysicalPoint(corner), after.TransformIndexToPhysicalPoint(corner), atol=1e-3
    )
    report = json.loads((files / "scan.report.json").read_text())
    assert report["format"] == "MetaImage"
    assert report["input"]["content_sha256"] == read(files / "scan.nii.gz").content_hash


def test_labels_keep_their_names(files):
    assert main(["convert", str(files / "labels.nii.gz"), str(files / "new.seg.nrrd")]) == 0
    assert "left kidney" in [o.name for o in read(files / "new.seg.nrrd", labels=True).labels]


def test_convert_does_not_overwrite(files, capsys):
    assert main(["convert", str(files / "scan.nii.gz"), str(files / "labels.nii.gz")]) == 1
    assert "add --force" in capsys.readouterr().err


def test_a_volume_of_a_4d_file_is_chosen_by_index(tmp_path, capsys):
    import nibabel as nib

    data = np.stack([np.full((4, 5, 6), v, np.int16) for v in (10, 20)], -1)
    nib.save(nib.Nifti1Image(data, np.eye(4)), tmp_path / "four.nii.gz")
    assert main(["convert", str(tmp_path / "four.nii.gz"), str(tmp_path / "second.nrrd"), "--index", "1"]) == 0
    assert read(tmp_path / "second.nrrd").data.max() == 20
    assert main(["convert", str(tmp_path / "four.nii.gz"), str(tmp_path / "x.nrrd"), "--index", "2"]) == 1


def test_series_of_a_dicom_folder_are_listed_and_chosen(shared_data, tmp_path, capsys):
    folder = next(p for p in sorted((shared_data / "dicom").iterdir()) if p.is_dir() and p.name.startswith("chaos"))
    assert main(["info", str(folder), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    number = facts["series"][0]["number"]
    assert main(["info", str(folder)]) == 0
    assert "number" in capsys.readouterr().out
    assert main(["convert", str(folder), str(tmp_path / "s.nii.gz"), "--series", str(number), "--index", "0"]) == 0
    assert read(tmp_path / "s.nii.gz").shape[0] > 10
