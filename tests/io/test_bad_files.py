"""Whatever is wrong with a file, the reader says so in a sentence that names it."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

from napari_medssl.errors import FormatError, MedSSLError
from napari_medssl.io import describe, list_series, read, write


@pytest.fixture
def scan(tmp_path):
    path = tmp_path / "scan.nii.gz"
    rng = np.random.default_rng(0)
    nib.Nifti1Image(rng.integers(0, 1000, (9, 8, 7)).astype(np.int16), np.diag([1.0, 1, 3, 1])).to_filename(path)
    return path


def test_truncated_gzip(scan):
    scan.write_bytes(scan.read_bytes()[:-200])
    with pytest.raises(FormatError, match=r"scan.nii.gz: the compressed data is cut off or damaged"):
        read(scan)


def test_truncated_plain_file(scan, tmp_path):
    (tmp_path / "short.nii").write_bytes(gzip.decompress(scan.read_bytes())[:-10])
    with pytest.raises(FormatError, match=r"claims 9 x 8 x 7 voxels \(1008 bytes\) but can hold at most 998 bytes"):
        read(tmp_path / "short.nii")


def test_damaged_gzip_content(scan):
    content = bytearray(scan.read_bytes())
    content[len(content) // 2] ^= 0xFF
    scan.write_bytes(content)
    with pytest.raises(FormatError, match=r"scan\.nii\.gz"):
        read(scan)


@pytest.mark.parametrize(
    "name", ["scan.nii", "scan.nii.gz", "scan.nrrd", "scan.mha", "scan.npz", "scan.dcm", "scan.mgz", "a.seg.nrrd"]
)
def test_wrong_magic(tmp_path, name):
    (tmp_path / name).write_bytes(b"this is a letter to my grandmother, not a scan. " * 20)
    with pytest.raises(FormatError) as caught:
        read(tmp_path / name)
    assert name in str(caught.value)


def test_empty_file(tmp_path):
    (tmp_path / "scan.nii").touch()
    with pytest.raises(FormatError, match="is empty"):
        read(tmp_path / "scan.nii")


def test_header_only(scan, tmp_path):
    (tmp_path / "head.nii").write_bytes(gzip.decompress(scan.read_bytes())[:100])
    with pytest.raises(FormatError, match="ends after 100 bytes"):
        read(tmp_path / "head.nii")


def test_empty_folder(tmp_path):
    with pytest.raises(FormatError, match="holds no DICOM files"):
        read(tmp_path)
    with pytest.raises(FormatError, match="holds no DICOM files"):
        list_series(tmp_path)


def test_folder_without_dicom(tmp_path, scan):
    with pytest.raises(FormatError, match="holds no DICOM files"):
        read(tmp_path)


def test_a_whole_archive_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("napari_medssl.io.dicom_series._MAX_FILES", 3)
    for number in range(5):
        (tmp_path / str(number)).touch()
    with pytest.raises(FormatError, match="more than 3 files below it"):
        read(tmp_path)


def test_nothing_there(tmp_path):
    for act in (read, describe, list_series):
        with pytest.raises(FormatError, match="no such file"):
            act(tmp_path / "missing.nii.gz")


def test_no_permission(scan, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may read everything
    with pytest.raises(FormatError, match="no permission"):
        read(scan)


def test_unknown_ending_names_the_known_ones(tmp_path):
    (tmp_path / "scan.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(600))
    with pytest.raises(FormatError, match=r"'.jpg' nor its first bytes are known; supported are .*\.nii\.gz"):
        read(tmp_path / "scan.jpg")


def test_huge_nifti_is_refused_before_allocation(scan, tmp_path):
    content = bytearray(gzip.decompress(scan.read_bytes()))
    content[42:48] = np.array([30000, 30000, 30000], "<i2").tobytes()
    (tmp_path / "huge.nii").write_bytes(content)
    (tmp_path / "huge.nii.gz").write_bytes(gzip.compress(bytes(content)))
    for name in ("huge.nii", "huge.nii.gz"):
        with pytest.raises(
            FormatError, match=r"claims 30000 x 30000 x 30000 voxels \(50291.4 GiB\) but can hold at most"
        ):
            read(tmp_path / name)


def test_negative_size_is_refused(scan, tmp_path):
    content = bytearray(gzip.decompress(scan.read_bytes()))
    content[42:44] = np.array([-5], "<i2").tobytes()
    (tmp_path / "negative.nii").write_bytes(content)
    with pytest.raises(FormatError, match=r"negative\.nii"):
        read(tmp_path / "negative.nii")


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_huge_itk_header_is_refused_before_allocation(tmp_path, suffix):
    text = {
        ".nrrd": "NRRD0004\ntype: short\ndimension: 3\nsizes: 90000 90000 90000\nspacings: 1 1 1\n"
        "endian: little\nencoding: raw\n\n",
        ".mha": "ObjectType = Image\nNDims = 3\nDimSize = 90000 90000 90000\n"
        "ElementType = MET_SHORT\nElementDataFile = LOCAL\n",
    }[suffix]
    (tmp_path / f"huge{suffix}").write_bytes(text.encode() + bytes(100))
    with pytest.raises(FormatError, match=r"claims 90000 x 90000 x 90000 x 1 voxels"):
        read(tmp_path / f"huge{suffix}")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".seg.nrrd", ".mha", ".npz"])
def test_random_damage_never_escapes(tmp_path, tiny_volume, suffix):
    """Bytes changed or cut off anywhere give a volume or our error, nothing else."""
    whole = tmp_path / f"whole{suffix}"
    write(whole, tiny_volume.like((tiny_volume.data > 100).astype(np.uint8)))
    content = whole.read_bytes()
    rng = np.random.default_rng(1)
    refused = 0
    for _ in range(60):
        damaged = bytearray(content[: rng.integers(1, len(content))] if rng.random() < 0.3 else content)
        for _ in range(rng.integers(0, 6)):
            damaged[rng.integers(0, min(len(damaged), 400))] = rng.integers(0, 256)
        (tmp_path / f"damaged{suffix}").write_bytes(damaged)
        refused += is_refused(tmp_path / f"damaged{suffix}")
    assert refused > 10


def test_random_damage_to_dicom_never_escapes(tmp_path, save_slice, voxels):
    content = save_slice("whole.dcm", voxels[0], (0, 0, 0)).read_bytes()
    rng = np.random.default_rng(2)
    refused = 0
    for _ in range(150):
        damaged = bytearray(content[: rng.integers(140, len(content))] if rng.random() < 0.3 else content)
        for _ in range(rng.integers(0, 6)):
            damaged[rng.integers(132, len(damaged))] = rng.integers(0, 256)
        (tmp_path / "damaged.dcm").write_bytes(damaged)
        refused += is_refused(tmp_path / "damaged.dcm")
    assert refused > 20


def is_refused(path):
    try:
        read(path)
    except MedSSLError:
        return True
    return False


def test_fractional_and_negative_labels_are_refused(tmp_path, tiny_volume):
    write(tmp_path / "image.nii.gz", tiny_volume)
    with pytest.raises(FormatError, match=r"image.nii.gz has fractional values .* no label map"):
        read(tmp_path / "image.nii.gz", labels=True)
    write(tmp_path / "ct.nii.gz", tiny_volume.like(np.full(tiny_volume.shape, -1000, np.int16)))
    with pytest.raises(FormatError, match="negative values"):
        read(tmp_path / "ct.nii.gz", labels=True)
    write(tmp_path / "nan.nii.gz", tiny_volume.like(np.full(tiny_volume.shape, np.nan, np.float32)))
    with pytest.raises(FormatError, match="no finite numbers"):
        read(tmp_path / "nan.nii.gz", labels=True)


def test_reading_layer_is_light():
    code = (
        "import sys, napari_medssl.io\n"
        "heavy = {'torch', 'monai', 'nibabel', 'pydicom', 'SimpleITK', 'highdicom', 'napari'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
