"""Colours of voxels in the formats that hold them, on the scan's own grid."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from napari_medssl.errors import FormatError, GeometryError
from napari_medssl.io import read, write
from napari_medssl.io.colour import write_colours
from napari_medssl.volume import Volume


def painted(volume: Volume) -> np.ndarray:
    """Another colour for every voxel."""
    count = np.arange(volume.data.size).reshape(volume.shape)
    return np.stack([count % 251, count % 13, 255 - count % 7], -1).astype(np.uint8)


@pytest.fixture
def scan(tiny_volume: Volume, tmp_path: Path) -> Volume:
    """As read from a file whose axes are in another order than (Z, Y, X)."""
    write(tmp_path / "scan.nii.gz", tiny_volume)
    return read(tmp_path / "scan.nii.gz")


@pytest.mark.parametrize("ending", [".nii.gz", ".nii"])
def test_nifti_colours_lie_on_the_voxels_of_the_scan(scan: Volume, tmp_path: Path, ending: str) -> None:
    rgb = painted(scan)
    write_colours(tmp_path / f"colours{ending}", scan, rgb)
    image = nibabel.load(tmp_path / f"colours{ending}")
    source = nibabel.load(tmp_path / "scan.nii.gz")
    assert int(image.header["datatype"]) == 128
    np.testing.assert_array_equal(image.affine, source.affine)
    found = np.asarray(image.dataobj)
    assert scan.native is not None
    for channel, name in enumerate("RGB"):
        np.testing.assert_array_equal(scan.native.to_zyx(found[name]), rgb[..., channel])


@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
def test_itk_colours_have_the_geometry_of_the_scan(scan: Volume, tmp_path: Path, ending: str) -> None:
    rgb = painted(scan)
    write_colours(tmp_path / f"colours{ending}", scan, rgb)
    write(tmp_path / f"grey{ending}", scan)
    colours, grey = (sitk.ReadImage(str(tmp_path / f"{name}{ending}")) for name in ("colours", "grey"))
    assert colours.GetNumberOfComponentsPerPixel() == 3
    assert colours.GetOrigin() == grey.GetOrigin()
    assert colours.GetDirection() == grey.GetDirection()
    found = sitk.GetArrayFromImage(colours).transpose(2, 1, 0, 3)  # (k, j, i, 3) to (i, j, k, 3)
    assert scan.native is not None
    np.testing.assert_array_equal(scan.native.to_zyx(found[..., 1]), rgb[..., 1])


def test_what_cannot_be_written_is_refused(scan: Volume, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="use one of .nii.gz"):
        write_colours(tmp_path / "colours.npz", scan, painted(scan))
    with pytest.raises(GeometryError, match="do not fit"):
        write_colours(tmp_path / "colours.nii", scan, painted(scan)[1:])
    assert list(tmp_path.iterdir()) == [tmp_path / "scan.nii.gz"]
