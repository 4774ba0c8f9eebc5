"""NIfTI details: scaling, forms, units, several volumes, names that do not fit the content."""

from __future__ import annotations

import gzip
import os

import nibabel as nib
import numpy as np
import pytest

from napari_medssl.errors import FormatError, GeometryError
from napari_medssl.geometry import orientation_codes
from napari_medssl.io import read, write

AFFINE = np.diag([-1.0, -1.0, 3.0, 1.0])  # LPS: already the radiological order, so voxels can be compared directly


def save(path, array, affine=AFFINE, **header):
    image = nib.Nifti1Image(array, affine)
    for name, value in header.items():
        image.header[name] = value
    image.to_filename(path)
    return path


def poke(path, offset, data):
    """Overwrite bytes of a .nii header: what nibabel would not write itself."""
    content = bytearray(path.read_bytes())
    content[offset : offset + len(data)] = data
    path.write_bytes(content)
    return path


def cube(dtype=np.int16, shape=(3, 4, 5)):
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64, np.int8])
def test_stored_type_is_kept(tmp_path, dtype):
    volume = read(save(tmp_path / "scan.nii.gz", cube(dtype)))
    assert volume.data.dtype == dtype
    np.testing.assert_array_equal(volume.data, cube(dtype).transpose(2, 1, 0))
    assert volume.data.flags.c_contiguous


def test_whole_number_scaling_stays_integer(tmp_path):
    path = poke(save(tmp_path / "scan.nii", cube(np.uint16)), 112, np.array([1, -1024], "<f4").tobytes())
    volume = read(path)
    assert volume.data.dtype == np.int16
    np.testing.assert_array_equal(volume.data, cube().transpose(2, 1, 0) - 1024)


def test_fractional_scaling_gives_floats(tmp_path):
    volume = read(poke(save(tmp_path / "scan.nii", cube()), 112, np.array([0.5, 3], "<f4").tobytes()))
    assert volume.data.dtype == np.float32
    np.testing.assert_allclose(volume.data, cube().transpose(2, 1, 0) * 0.5 + 3)


def test_mask_of_a_scaled_image_is_not_scaled(tmp_path):
    path = poke(save(tmp_path / "scan.nii", cube()), 112, np.array([0.5, 3], "<f4").tobytes())
    write(tmp_path / "mask.nii", read(path).like(np.ones((5, 4, 3), np.uint8)))
    image = nib.load(tmp_path / "mask.nii")
    assert np.unique(np.asarray(image.dataobj)).tolist() == [1]
    assert image.get_data_dtype() == np.uint8


def test_big_endian(tmp_path):
    header = nib.Nifti1Header(endianness=">")
    header.set_data_dtype(">i2")
    nib.Nifti1Image(cube(">i2"), AFFINE, header).to_filename(tmp_path / "scan.nii")
    volume = read(tmp_path / "scan.nii")
    assert volume.data.dtype == np.dtype("i2")
    np.testing.assert_array_equal(volume.data, cube().transpose(2, 1, 0))
    write(tmp_path / "mask.nii", volume.like(volume.data % 2 == 0))
    np.testing.assert_array_equal(nib.load(tmp_path / "mask.nii").affine, AFFINE)


def test_nifti2(tmp_path):
    nib.Nifti2Image(cube(), AFFINE).to_filename(tmp_path / "scan.nii")
    volume = read(tmp_path / "scan.nii")
    write(tmp_path / "mask.nii.gz", volume.like(volume.data > 3))
    mask = nib.load(tmp_path / "mask.nii.gz")
    assert isinstance(mask, nib.Nifti2Image)
    np.testing.assert_array_equal(np.asarray(mask.dataobj), cube() > 3)


def test_sform_wins_and_conflict_is_stated(tmp_path):
    image = nib.Nifti1Image(cube(), AFFINE)
    image.set_sform(AFFINE, 2)
    moved = AFFINE.copy()
    moved[0, 3] = 40
    image.set_qform(moved, 1)
    image.to_filename(tmp_path / "scan.nii")
    volume = read(tmp_path / "scan.nii")
    assert volume.affine[0, 3] == 0
    assert "differently (by up to 40.0 voxels); the sform was used" in volume.notes[0]
    write(tmp_path / "mask.nii", volume.like(volume.data > 3))
    np.testing.assert_array_equal(
        nib.load(tmp_path / "mask.nii").get_qform(), nib.load(tmp_path / "scan.nii").get_qform()
    )


def test_no_form_is_stated(tmp_path):
    path = poke(save(tmp_path / "scan.nii", cube()), 252, bytes(4))  # both codes
    volume = read(path)
    assert "does not say how the patient lies" in volume.notes[0]
    write(tmp_path / "mask.nii", volume.like(volume.data > 3))
    np.testing.assert_array_equal(nib.load(tmp_path / "mask.nii").affine, nib.load(path).affine)


def test_damaged_sform_gives_way_to_the_qform(tmp_path):
    image = nib.Nifti1Image(cube(), AFFINE)
    image.set_qform(AFFINE, 1)
    image.set_sform(AFFINE, 1)
    image.header["srow_x"] = 0
    image._affine = None  # keep the damage: nibabel would repair it from the affine
    image.to_filename(tmp_path / "scan.nii")
    volume = read(tmp_path / "scan.nii")
    assert "sform is damaged" in volume.notes[0]
    np.testing.assert_allclose(volume.native.affine, AFFINE, atol=1e-6)


@pytest.mark.parametrize("row", [280, 284, 288, 292])
def test_nan_in_the_affine_is_refused(tmp_path, row):
    path = save(tmp_path / "scan.nii", cube(), qform_code=0)
    poke(path, 76, np.full(8, np.nan, "<f4").tobytes())  # the voxel sizes, so that no fallback is left
    poke(path, row, np.array([np.nan], "<f4").tobytes())
    with pytest.raises(GeometryError, match=r"scan.nii: the header places the voxels with numbers that are no affine"):
        read(path)


def test_units_become_mm(tmp_path):
    image = nib.Nifti1Image(cube(), np.diag([-0.001, -0.001, 0.003, 1]))
    image.header.set_xyzt_units("meter")
    image.to_filename(tmp_path / "scan.nii")
    volume = read(tmp_path / "scan.nii")
    assert volume.spacing_mm == pytest.approx((3, 1, 1))
    assert "not in mm" in volume.notes[0]
    write(tmp_path / "mask.nii", volume.like(volume.data > 3))
    np.testing.assert_array_equal(nib.load(tmp_path / "mask.nii").affine, nib.load(tmp_path / "scan.nii").affine)
    assert nib.load(tmp_path / "mask.nii").header.get_xyzt_units()[0] == "meter"


def test_four_dimensions(tmp_path):
    path = save(tmp_path / "series.nii.gz", cube(shape=(3, 4, 5, 6)))
    first, third = read(path), read(path, index=2)
    np.testing.assert_array_equal(first.data, cube(shape=(3, 4, 5, 6))[..., 0].transpose(2, 1, 0))
    np.testing.assert_array_equal(third.data, cube(shape=(3, 4, 5, 6))[..., 2].transpose(2, 1, 0))
    assert "holds 6 volumes; the first one was read" in first.notes[0]
    assert third.notes == ()
    with pytest.raises(FormatError, match="no volume 6; it holds 6 volumes, numbered 0 to 5"):
        read(path, index=6)
    write(tmp_path / "mask.nii", third.like(third.data > 3))
    assert nib.load(tmp_path / "mask.nii").shape == (3, 4, 5)


def test_one_slice(tmp_path):
    for shape in ((3, 4), (3, 4, 1), (3, 4, 1, 1)):
        path = save(tmp_path / "slice.nii", cube(shape=shape))
        volume = read(path)
        np.testing.assert_array_equal(volume.data, cube(shape=(3, 4)).T[None])
        write(tmp_path / "mask.nii", volume.like(volume.data > 3))
        assert nib.load(tmp_path / "mask.nii").shape == (shape if len(shape) < 4 else shape[:3])


@pytest.mark.parametrize("shape", [(12,), (2, 3, 4, 5, 6)])
def test_other_dimensions_are_refused(tmp_path, shape):
    with pytest.raises(FormatError, match=f"has {len(shape)} axes"):
        read(save(tmp_path / "scan.nii", cube(shape=shape)))


@pytest.mark.parametrize(
    ("dtype", "what"), [(np.complex64, "complex"), ([("R", "u1"), ("G", "u1"), ("B", "u1")], "colours")]
)
def test_other_voxels_are_refused(tmp_path, dtype, what):
    with pytest.raises(FormatError, match=f"holds {what}"):
        read(save(tmp_path / "scan.nii", np.zeros((2, 3, 4), dtype)))


def test_content_counts_more_than_the_name(tmp_path):
    plain = save(tmp_path / "plain.nii", cube())
    (tmp_path / "unzipped.nii.gz").write_bytes(plain.read_bytes())
    (tmp_path / "zipped.nii").write_bytes(gzip.compress(plain.read_bytes()))
    (tmp_path / "nameless").write_bytes(plain.read_bytes())
    (tmp_path / "nameless.gz").write_bytes(gzip.compress(plain.read_bytes()))
    for name in ("unzipped.nii.gz", "zipped.nii", "nameless", "nameless.gz"):
        np.testing.assert_array_equal(read(tmp_path / name).data, read(plain).data)


def test_mgh(tmp_path):
    nib.MGHImage(cube(), AFFINE).to_filename(tmp_path / "scan.mgz")
    volume = read(tmp_path / "scan.mgz")
    np.testing.assert_array_equal(volume.data, cube().transpose(2, 1, 0))
    write(tmp_path / "mask.nii.gz", volume.like(volume.data > 3))
    np.testing.assert_allclose(nib.load(tmp_path / "mask.nii.gz").affine, AFFINE, atol=1e-6)


def test_volume_made_here(tmp_path, tiny_volume):
    write(tmp_path / "made.nii.gz", tiny_volume)
    image = nib.load(tmp_path / "made.nii.gz")
    assert image.shape == (12, 10, 6)
    assert nib.aff2axcodes(image.affine) == ("L", "P", "S")
    np.testing.assert_allclose(image.get_qform(), image.get_sform(), atol=1e-5)
    back = read(tmp_path / "made.nii.gz")
    np.testing.assert_array_equal(back.data, tiny_volume.data)
    np.testing.assert_allclose(back.affine, tiny_volume.affine)


def test_half_precision_and_wide_integers_become_common_types(tmp_path, tiny_volume):
    for dtype, stored in ((np.float16, np.float32), (bool, np.uint8), (np.int64, np.uint8), (np.uint64, np.uint8)):
        write(tmp_path / "out.nii", tiny_volume.like((tiny_volume.data > 100).astype(dtype)))
        assert nib.load(tmp_path / "out.nii").get_data_dtype() == stored
    write(tmp_path / "out.nii", tiny_volume.like(np.full(tiny_volume.shape, -3, np.int64)))
    assert nib.load(tmp_path / "out.nii").get_data_dtype() == np.int16


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("chaos_t2/images/chaos_t2_01", "chaos_t2/labels/chaos_t2_01"),
        ("btcv_ct/images/btcv_ct_00", "btcv_ct/labels/btcv_ct_00"),
        ("sunnybrook/images/SC-HF-I-01_ED", "sunnybrook/labels/SC-HF-I-01_ED"),
        ("hippocampus/images/hippocampus_003", "hippocampus/labels/hippocampus_003"),
        ("totalseg/example_ct_sm", "totalseg/example_seg"),
        ("totalseg/example_mr_sm", "totalseg/example_seg_mr"),
        ("tptbox/sub-ct_label-22_ct", "tptbox/sub-ct_seg-vert_label-22_msk"),
        ("tptbox/sub-mri_label-6_T2w", "tptbox/sub-mri_seg-subreg_label-6_msk"),
    ],
)
def test_real_pairs_share_a_grid_and_masks_go_back(shared_data, tmp_path, image, label):
    scan = read(shared_data / f"{image}.nii.gz")
    mask = read(shared_data / f"{label}.nii.gz", labels=True)
    np.testing.assert_array_equal(scan.affine, mask.affine)
    assert scan.shape == mask.shape
    assert mask.data.dtype == np.uint8
    assert orientation_codes(scan) == ("I>S", "A>P", "R>L")
    write(tmp_path / "mask.nii.gz", scan.like(mask.data))
    source, made = nib.load(shared_data / f"{label}.nii.gz"), nib.load(tmp_path / "mask.nii.gz")
    np.testing.assert_array_equal(np.asarray(source.dataobj), np.asarray(made.dataobj))
    np.testing.assert_array_equal(nib.load(shared_data / f"{image}.nii.gz").affine, made.affine)


@pytest.mark.parametrize("name", ["CT_AVM", "CT_pitch", "MR_Gd", "chris_PD", "chris_t1", "spm152"])
def test_real_volumes_without_labels(shared_data, name):
    volume = read(shared_data / "niivue" / f"{name}.nii.gz")
    assert orientation_codes(volume) == ("I>S", "A>P", "R>L")
    assert np.isfinite(volume.data).all()
    assert os.fspath(volume.source).endswith(f"{name}.nii.gz")
