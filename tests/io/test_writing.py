"""Masks with their organ table, and the promise that nothing is lost when writing fails."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from napari_medssl.errors import FormatError
from napari_medssl.io import describe, read, write, write_segmentation
from napari_medssl.labels import Label
from napari_medssl.volume import Volume

LABELS = (Label(1, "Leber", (200, 10, 30)), Label(3, "right kidney", (0, 255, 7)))
SUFFIXES = [".nii", ".nii.gz", ".nrrd", ".seg.nrrd", ".mha", ".mhd", ".npz"]


@pytest.fixture
def mask(tiny_volume) -> Volume:
    data = np.zeros(tiny_volume.shape, np.int64)
    data[1:3, 2:5, 4:9] = 1
    data[4, :2] = 3
    return tiny_volume.like(data, LABELS)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_masks_keep_voxels_grid_names_and_colours(tmp_path, mask, suffix):
    write(tmp_path / f"mask{suffix}", mask)
    back = read(tmp_path / f"mask{suffix}", labels=True)
    np.testing.assert_array_equal(back.data, mask.data)
    np.testing.assert_allclose(back.affine, mask.affine, atol=1e-6)
    assert back.data.dtype == np.uint8
    assert back.labels == LABELS


def test_side_car(tmp_path, mask):
    write(tmp_path / "mask.nii.gz", mask)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mask.labels.json", "mask.nii.gz"]
    facts = json.loads((tmp_path / "mask.labels.json").read_text())
    assert facts["labels"][0] == {
        "value": 1, "name": "Leber", "color": [200, 10, 30], "voxels": 30, "volume_ml": 30 * 3 * 1.5 * 1.5 / 1000
    }  # fmt: skip
    assert facts["voxel_ml"] == pytest.approx(0.00675)


def test_damaged_side_car_is_not_passed_over(tmp_path, mask):
    write(tmp_path / "mask.nii.gz", mask)
    (tmp_path / "mask.labels.json").write_text('{"labels": [{"value": 0, "name": "x", "color": [1, 2, 3]}]}')
    with pytest.raises(FormatError, match=r"label table .*mask.labels.json is damaged"):
        read(tmp_path / "mask.nii.gz", labels=True)


def test_labels_without_names_get_defaults(tmp_path, tiny_volume):
    write_segmentation(tmp_path / "mask.nii", tiny_volume.like((tiny_volume.data > 100) * 400))
    back = read(tmp_path / "mask.nii", labels=True)
    assert [(v.value, v.name) for v in back.labels] == [(400, "organ 400")]
    assert back.data.dtype == np.uint16


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_float_masks_are_stored_as_small_integers(tmp_path, tiny_volume, suffix):
    write_segmentation(tmp_path / f"mask{suffix}", tiny_volume.like((tiny_volume.data > 100).astype(np.float64)))
    if suffix != ".npz":
        assert sitk.ReadImage(str(tmp_path / f"mask{suffix}")).GetPixelIDTypeAsString() == "8-bit unsigned integer"
    else:
        assert np.load(tmp_path / "mask.npz")["data"].dtype == np.uint8


def test_unknown_ending(tmp_path, tiny_volume):
    with pytest.raises(FormatError, match=r"'.png' is no format to write; use one of .*\.nii\.gz"):
        write(tmp_path / "scan.png", tiny_volume)
    for name in ("scan.dcm", "scan.mgz", "scan.nhdr", "scan"):
        with pytest.raises(FormatError, match="no format to write"):
            write(tmp_path / name, tiny_volume)


def test_missing_folder(tmp_path, tiny_volume):
    with pytest.raises(FormatError, match="does not exist; make it first"):
        write(tmp_path / "nowhere" / "scan.nii", tiny_volume)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_full_disk_leaves_the_old_files(tmp_path, mask, suffix):
    """The system itself refuses to write on: no part of the way is simulated."""
    resource = pytest.importorskip("resource", reason="file size limits are a Unix thing")
    path = tmp_path / f"mask{suffix}"
    write(path, mask)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    rng = np.random.default_rng(0)
    large = Volume(rng.integers(0, 255, (40, 50, 60)).astype(np.uint8), mask.affine, labels=LABELS)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(FormatError):
            write(path, large)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


@pytest.mark.parametrize("step", ["fsync", "write_text"])
def test_failure_at_any_step_leaves_the_old_files(tmp_path, mask, monkeypatch, step):
    write(tmp_path / "mask.nii.gz", mask)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(*((os, "fsync", full) if step == "fsync" else (Path, "write_text", full)))
    with pytest.raises(FormatError, match=r"the disk is full; .* what was there before is unchanged"):
        write(tmp_path / "mask.nii.gz", mask.like(np.ones(mask.shape, np.uint8), LABELS))
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_interruption_leaves_no_debris(tmp_path, mask, monkeypatch):
    def interrupted(*_args):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "mask.nii.gz", mask)
    assert list(tmp_path.iterdir()) == []


def test_replacing_keeps_links_and_permissions(tmp_path, mask):
    write(tmp_path / "mask.npz", mask)
    (tmp_path / "mask.npz").chmod(0o640)
    (tmp_path / "link.npz").symlink_to(tmp_path / "mask.npz")
    write(tmp_path / "link.npz", mask.like(np.ones(mask.shape, np.uint8), LABELS))
    assert (tmp_path / "link.npz").is_symlink()
    assert read(tmp_path / "mask.npz", labels=True).data.all()
    assert stat.S_IMODE((tmp_path / "mask.npz").stat().st_mode) == 0o640


def test_cropped_volume_is_not_put_on_the_old_grid(tmp_path, tiny_volume):
    """A grid that no longer fits its source must not borrow the source's header."""
    import dataclasses

    write(tmp_path / "scan.nii", tiny_volume)
    scan = read(tmp_path / "scan.nii")
    affine = scan.affine.copy()
    affine[:3, 3] += affine[:3, 0] * 2
    write(tmp_path / "crop.nii", dataclasses.replace(scan, data=scan.data[2:], affine=affine))
    crop = nib.load(tmp_path / "crop.nii")
    np.testing.assert_allclose(crop.affine[:3, 3], nib.load(tmp_path / "scan.nii").affine[:3, 3] + (0, 0, 6), atol=1e-5)
    # The same shape moved: only the affine tells.
    write(tmp_path / "moved.nii", dataclasses.replace(scan, affine=affine))
    np.testing.assert_allclose(nib.load(tmp_path / "moved.nii").affine, crop.affine, atol=1e-5)


def test_describe_is_ready_for_json(tmp_path, mask):
    write(tmp_path / "mask.seg.nrrd", mask)
    facts = json.loads(json.dumps(describe(tmp_path / "mask.seg.nrrd")))
    assert facts["format"] == "3D Slicer segmentation"
    assert facts["shape_zyx"] == [6, 10, 12]
    assert facts["spacing_mm_zyx"] == [3, 1.5, 1.5]
    assert facts["orientation_zyx"] == ["I>S", "A>P", "R>L"]
    assert facts["plane"] == "axial"
    assert (facts["oblique"], facts["sheared"]) == (False, False)
    assert facts["labels"][1]["voxels"] == 24
    assert facts["labels"][1]["volume_ml"] == pytest.approx(0.162)
