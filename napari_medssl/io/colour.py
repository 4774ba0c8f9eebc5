"""Writing a colour for every voxel of a scan, on the scan's own grid."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_medssl.errors import FormatError, GeometryError
from napari_medssl.geometry import file_grid, is_sheared
from napari_medssl.io.atomic import replacing
from napari_medssl.io.formats import suffix_of
from napari_medssl.volume import NativeGrid, Volume

COLOUR_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha")
_RGB24 = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])  # NIfTI's colour type, datatype 128


def write_colours(path: str | os.PathLike[str], volume: Volume, rgb: npt.NDArray[np.uint8]) -> None:
    """Write (Z, Y, X, 3) uint8 red, green and blue of a scan's voxels, whole or not at all.

    path: .nii or .nii.gz (RGB24 voxels, which ITK-SNAP, FSLeyes, MRIcroGL and 3D Slicer show in colour), .nrrd or .mha
    (three components a voxel). The grid is that of the scan's file, as with `io.write`.

    Raises FormatError for another ending or when the disk refuses, GeometryError when the colours do not fit the
    scan or the format cannot hold its grid.
    """
    path = Path(path).expanduser()
    suffix = suffix_of(path)
    if suffix not in COLOUR_ENDINGS:
        raise FormatError(f"cannot write colours into {path.name}; use one of {', '.join(COLOUR_ENDINGS)}")
    if rgb.shape != (*volume.shape, 3) or rgb.dtype != np.uint8:
        raise GeometryError(f"colours {rgb.dtype} {rgb.shape} do not fit a scan of {volume.shape}; uint8 (Z, Y, X, 3)")
    grid = file_grid(volume)
    native = np.stack([grid.to_native(rgb[..., c]) for c in range(3)], -1)  # (i, j, k, 3)
    with replacing(path) as (temp,):
        (_write_nifti if suffix.startswith(".nii") else _write_itk)(temp, native, grid)


def _write_nifti(path: Path, native: npt.NDArray[np.uint8], grid: NativeGrid) -> None:
    from napari_medssl.io.nifti import write_array

    write_array(path, np.ascontiguousarray(native).view(_RGB24)[..., 0], grid)


def _write_itk(path: Path, native: npt.NDArray[np.uint8], grid: NativeGrid) -> None:
    import SimpleITK as sitk

    from napari_medssl.io.itk import itk_image, write_image

    if path.suffix == ".mha" and is_sheared(grid.affine):
        raise GeometryError("MetaImage cannot hold a sheared grid (tilted gantry); save as .nii.gz or .nrrd")
    compose: Any = sitk.Compose  # not annotated
    write_image(path, compose([itk_image(native[..., c], grid) for c in range(3)]))
