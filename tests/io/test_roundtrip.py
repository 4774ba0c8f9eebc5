"""An exported mask lies on its source's grid, voxel for voxel, whatever way the source's axes run."""

from __future__ import annotations

import itertools
from pathlib import Path
from tempfile import TemporaryDirectory

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from napari_medssl.geometry import orientation_codes, patient_axis_signs, world_from_index
from napari_medssl.io import read, write

SIGNED_PERMUTATIONS = [
    (axes, signs) for axes in itertools.permutations(range(3)) for signs in itertools.product((1, -1), repeat=3)
]
SHAPE = (4, 5, 7)


def rotation(axes, signs) -> np.ndarray:
    matrix = np.zeros((3, 3))
    for column, (row, sign) in enumerate(zip(axes, signs, strict=True)):
        matrix[row, column] = sign
    return matrix


def affine_of(directions, spacing, origin) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = directions @ np.diag(spacing)
    affine[:3, 3] = origin
    return affine


def save_nifti(path: Path, affine: np.ndarray, codes=(1, 1)) -> np.ndarray:
    """A volume in which every voxel is different, so that any mix-up shows."""
    voxels = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)
    image = nib.Nifti1Image(voxels, affine)
    image.set_sform(affine, codes[0])
    image.set_qform(affine, codes[1], strip_shears=True)
    image.to_filename(path)
    return voxels


def physical_point(image: sitk.Image, index) -> np.ndarray:
    """RAS mm as SimpleITK sees it (it counts in LPS)."""
    return np.array(image.TransformIndexToPhysicalPoint([int(i) for i in index])) * (-1, -1, 1)


def check_same_file(source: Path, folder: Path, suffix: str, *, itk: bool = True) -> None:
    """Mask some voxels of `source` and compare the exported mask with it, with nibabel and with SimpleITK."""
    volume = read(source)
    write(folder / f"mask{suffix}", volume.like((volume.data % 3 == 1).astype(np.uint8)))
    if suffix.startswith(".nii"):
        a, b = nib.load(source), nib.load(folder / f"mask{suffix}")
        np.testing.assert_array_equal(a.affine, b.affine)
        np.testing.assert_array_equal(np.asarray(a.dataobj) % 3 == 1, np.asarray(b.dataobj) == 1)
        assert a.shape == b.shape
        assert [int(a.header[k]) for k in ("sform_code", "qform_code")] == [
            int(b.header[k]) for k in ("sform_code", "qform_code")
        ]
        np.testing.assert_array_equal(a.header.get_qform(), b.header.get_qform())
    if itk:
        a, b = sitk.ReadImage(str(source)), sitk.ReadImage(str(folder / f"mask{suffix}"))
        np.testing.assert_array_equal(sitk.GetArrayFromImage(a) % 3 == 1, sitk.GetArrayFromImage(b) == 1)
        for corner in itertools.product(*[(0, n - 1) for n in SHAPE]):
            np.testing.assert_allclose(physical_point(a, corner), physical_point(b, corner), atol=1e-3)


def check_points(source: Path, voxels: np.ndarray, affine: np.ndarray) -> None:
    """Every voxel of the volume lies where the source's affine puts the voxel of the same value."""
    volume = read(source)
    for index in np.ndindex(volume.shape):
        where = np.argwhere(voxels == volume.data[index])[0]
        np.testing.assert_allclose(world_from_index(volume, index), affine[:3, :3] @ where + affine[:3, 3], atol=1e-4)


@pytest.mark.parametrize(("axes", "signs"), SIGNED_PERMUTATIONS)
@pytest.mark.parametrize("spacing", [(1.0, 1.1, 4.0), (1.0, 1.0, 1.0)], ids=["thick", "isotropic"])
def test_every_orientation(tmp_path, axes, signs, spacing):
    source = tmp_path / "scan.nii.gz"
    affine = affine_of(rotation(axes, signs), spacing, (5.0, -7.0, 11.0))
    voxels = save_nifti(source, affine)
    check_points(source, voxels, affine)
    check_same_file(source, tmp_path, ".nii.gz")
    check_same_file(source, tmp_path, ".nii")
    codes = orientation_codes(read(source))
    plane = axes[2] if spacing[2] > 1 else 2
    assert codes == {0: ("R>L", "S>I", "A>P"), 1: ("A>P", "S>I", "R>L"), 2: ("I>S", "A>P", "R>L")}[plane]


ANGLES = st.tuples(*[st.floats(-180, 180)] * 3)
SPACINGS = st.tuples(*[st.floats(0.3, 8.0)] * 3)
ORIGINS = st.tuples(*[st.floats(-500, 500)] * 3)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(
    angles=ANGLES,
    spacing=SPACINGS,
    origin=ORIGINS,
    mirrored=st.booleans(),
    codes=st.sampled_from([(1, 1), (2, 0), (0, 1), (3, 4)]),
)
def test_every_oblique_grid(angles, spacing, origin, mirrored, codes):
    directions = Rotation.from_euler("zyx", angles, degrees=True).as_matrix() @ np.diag([-1 if mirrored else 1, 1, 1])
    with TemporaryDirectory() as folder:
        source = Path(folder) / "scan.nii.gz"
        affine = affine_of(directions, spacing, origin)
        voxels = save_nifti(source, affine, codes)
        check_points(source, voxels, nib.load(source).affine)
        check_same_file(source, Path(folder), ".nii.gz")


def test_sheared_grid(tmp_path):
    affine = affine_of(np.eye(3), (1, 1, 3), (0, 0, 0))
    affine[1, 2] = 0.9  # gantry tilt: each slice starts 0.9 mm further back
    source = tmp_path / "tilted.nii.gz"
    voxels = save_nifti(source, affine, (1, 0))
    check_points(source, voxels, affine)
    check_same_file(source, tmp_path, ".nii.gz", itk=False)


def test_left_half_is_the_patients_left(tmp_path):
    for axes, signs in SIGNED_PERMUTATIONS:
        affine = affine_of(rotation(axes, signs), (1, 1, 3), (0, 0, 0))
        save_nifti(tmp_path / "scan.nii", affine)
        volume = read(tmp_path / "scan.nii")
        for letter, (world, sign) in {"L": (0, -1), "P": (1, -1), "S": (2, 1)}.items():
            axis, growth = patient_axis_signs(volume)[letter]
            step = np.eye(3)[axis] * growth
            moved = world_from_index(volume, step) - world_from_index(volume, np.zeros(3))
            assert moved[world] * sign > 0.9


def test_mask_and_image_share_a_grid_despite_dim_info(tmp_path):
    affine = affine_of(np.eye(3), (1, 1, 1), (0, 0, 0))
    voxels = save_nifti(tmp_path / "image.nii.gz", affine)
    image = nib.load(tmp_path / "image.nii.gz")
    image.header.set_dim_info(slice=0)
    image.to_filename(tmp_path / "image.nii.gz")
    nib.Nifti1Image((voxels % 2).astype(np.float32), affine).to_filename(tmp_path / "mask.nii.gz")
    scan, mask = read(tmp_path / "image.nii.gz"), read(tmp_path / "mask.nii.gz", labels=True)
    np.testing.assert_array_equal(scan.affine, mask.affine)
    np.testing.assert_array_equal(scan.data % 2, mask.data)
    assert mask.data.dtype == np.uint8
