"""NumPy archives keep voxels, grid, organ names and the way back to the original file."""

from __future__ import annotations

import io
import zipfile

import nibabel as nib
import numpy as np
import pytest

from napari_medssl.errors import FormatError
from napari_medssl.io import read, write
from napari_medssl.labels import Label


def test_way_back_to_the_original_grid(tmp_path):
    affine = np.array([[0, 2.0, 0, 5], [-1, 0, 0, 6], [0, 0, 4, 7], [0, 0, 0, 1]])
    nib.Nifti1Image(np.arange(60, dtype=np.int16).reshape(3, 4, 5), affine).to_filename(tmp_path / "scan.nii")
    scan = read(tmp_path / "scan.nii")
    write(tmp_path / "mask.npz", scan.like(scan.data % 7 == 0, (Label(1, "Milz", (1, 2, 3)),)))
    mask = read(tmp_path / "mask.npz", labels=True)
    assert mask.labels == (Label(1, "Milz", (1, 2, 3)),)
    write(tmp_path / "mask.nii", mask)
    back = nib.load(tmp_path / "mask.nii")
    np.testing.assert_array_equal(back.affine, affine)
    np.testing.assert_array_equal(np.asarray(back.dataobj), np.arange(60).reshape(3, 4, 5) % 7 == 0)


def test_archive_can_be_used_without_this_package(tmp_path, tiny_volume):
    write(tmp_path / "scan.npz", tiny_volume)
    with np.load(tmp_path / "scan.npz") as archive:
        np.testing.assert_array_equal(archive["data"], tiny_volume.data)
        np.testing.assert_array_equal(archive["affine"], tiny_volume.affine)
        np.testing.assert_allclose(archive["spacing_mm"], (3, 1.5, 1.5))


def test_archive_of_another_program(tmp_path):
    np.savez(tmp_path / "bare.npz", data=np.zeros((2, 3, 4)), affine=np.diag([1.0, 2, 3, 1]))
    assert read(tmp_path / "bare.npz").spacing_mm == (1, 2, 3)
    np.savez(tmp_path / "other.npz", image=np.zeros((2, 3, 4)))
    with pytest.raises(FormatError, match="no array 'data'"):
        read(tmp_path / "other.npz")
    np.savez(tmp_path / "flat.npz", data=np.zeros((2, 3)), affine=np.eye(4))
    with pytest.raises(FormatError, match=r"shape \(2, 3\)"):
        read(tmp_path / "flat.npz")


def test_huge_claim_is_refused_before_allocation(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**5, 10**4, 999)})
    with zipfile.ZipFile(tmp_path / "huge.npz", "w") as archive:
        archive.writestr("data.npy", header.getvalue())
    with pytest.raises(FormatError, match=r"100000 x 10000 x 999 voxels \(7443.1 GiB\) but can hold"):
        read(tmp_path / "huge.npz")


def test_pickles_are_not_opened(tmp_path):
    np.savez(tmp_path / "objects.npz", data=np.array([{}], dtype=object), affine=np.eye(4))
    with pytest.raises(FormatError, match=r"allow_pickle|Object arrays"):
        read(tmp_path / "objects.npz")
