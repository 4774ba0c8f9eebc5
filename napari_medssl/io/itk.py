"""NRRD and MetaImage (.nrrd, .nhdr, .mha, .mhd) through SimpleITK."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK

from napari_medssl.errors import FormatError, GeometryError
from napari_medssl.geometry import file_grid, is_sheared, native_grid, spacing_of
from napari_medssl.io.formats import suffix_of
from napari_medssl.io.itk_header import has_orientation, stored_size
from napari_medssl.io.label_table import read_table
from napari_medssl.io.label_values import as_labels, complete
from napari_medssl.io.limits import check_claim
from napari_medssl.io.modality import guess_modality
from napari_medssl.io.request import Request
from napari_medssl.io.rescale import native_bytes, storable
from napari_medssl.io.several import choose, choose_volume
from napari_medssl.volume import Affine, NativeGrid, Volume

PARSER_ERRORS: tuple[type[Exception], ...] = ()  # only built-in ones
# SimpleITK is not annotated.
sitk: Any = SimpleITK
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def read(path: Path, request: Request) -> Volume:
    """The volume of a NRRD or MetaImage file.

    A fourth axis or several components per voxel count as several volumes: `request.index`, or the first with a note.
    Raises FormatError for complex voxels, damaged files and headers that claim more than the file holds.
    """
    reader, notes = open_reader(path)
    shape = tuple(reader.GetSize())
    components = reader.GetNumberOfComponents()
    if components > 1 and len(shape) > 3:
        raise FormatError(f"{path} has 4 axes and {components} values per voxel; split it into single volumes first")
    if components > 1:
        component, more = choose(path, components, request.index)
        array = file_array(reader)[..., component]
    else:
        choice, more = choose_volume(path, shape, request.index)
        array = file_array(reader, choice)
    array = array.reshape((*array.shape, 1)) if array.ndim == 2 else array
    grid = native_grid(affine_of(reader), array.shape, header={"format": suffix_of(path).lstrip(".")})
    data = native_bytes(grid.to_zyx(array))
    notes = (*notes, *more)
    if request.labels:
        data = as_labels(data, path)
        return Volume(data, grid.zyx_affine(), "auto", complete(read_table(path), data), grid, path, notes)
    return Volume(data, grid.zyx_affine(), guess_modality(data), (), grid, path, notes)


def open_reader(path: Path) -> tuple[Any, tuple[str, ...]]:
    """A reader that knows the header, whose claims have been checked, and notes on the geometry."""
    nrrd = _is_nrrd(path)
    reader = sitk.ImageFileReader()
    reader.SetImageIO("NrrdImageIO" if nrrd else "MetaImageIO")
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    if "complex" in sitk.GetPixelIDValueAsString(reader.GetPixelID()):
        raise FormatError(f"{path} holds complex numbers; save magnitude or phase as a file of its own")
    size = stored_size(path, nrrd=nrrd)
    if size is not None:
        shape = (*reader.GetSize(), reader.GetNumberOfComponents())
        check_claim(path, shape, size.itemsize or _itemsize(reader), stored_bytes=size.n, compressed=size.compressed)
    if has_orientation(path, nrrd=nrrd):
        return reader, ()
    return reader, ("the file does not say how the patient lies: left/right and front/back are assumed",)


def _is_nrrd(path: Path) -> bool:
    with path.open("rb") as handle:
        return handle.read(4) == b"NRRD"


def _itemsize(reader: Any) -> int:
    """Bytes of one component, from SimpleITK's name of the type ("vector of 16-bit signed integer")."""
    name = sitk.GetPixelIDValueAsString(reader.GetPixelID())
    bits = next((word[:-4] for word in name.split() if word.endswith("-bit")), "8")
    return int(bits) // 8


def file_array(reader: Any, choice: tuple[int, ...] = ()) -> np.ndarray:
    """(i, j, k) or (i, j, k, component) numbers of one volume; a fourth axis is never read whole."""
    if choice:
        reader.SetExtractSize([*reader.GetSize()[:3], 0])
        reader.SetExtractIndex([0, 0, 0, *choice])
    array = sitk.GetArrayFromImage(reader.Execute())
    if reader.GetNumberOfComponents() > 1:
        return np.asarray(np.moveaxis(array, -1, 0).T)  # (k, j, i, c) to (i, j, k, c)
    return np.asarray(array.T)


def affine_of(reader: Any) -> Affine:
    """(4, 4) file index to RAS mm; a 2D file gets slices of 1 mm."""
    n = reader.GetDimension()
    directions = np.reshape(reader.GetDirection(), (n, n))
    spacing, origin = reader.GetSpacing(), reader.GetOrigin()
    affine = np.eye(4)
    for axis in range(min(n, 3)):
        affine[: min(n, 3), axis] = directions[: min(n, 3), axis] * spacing[axis]
        affine[axis, 3] = origin[axis]
    return _LPS_TO_RAS @ affine


def write(path: Path, volume: Volume) -> None:
    """Write a volume on its source's grid, compressed.

    .mhd is written with its data inside (ElementDataFile = LOCAL), so that one rename replaces it whole. Sheared
    grids fit NRRD but not MetaImage, whose matrix is defined as a rotation: GeometryError.
    """
    grid = file_grid(volume)
    suffix = suffix_of(path)
    if suffix in (".mha", ".mhd") and is_sheared(grid.affine):
        raise GeometryError(
            "MetaImage cannot hold a sheared grid (tilted gantry); save as .nii.gz or .nrrd, or resample the scan first"
        )
    write_image(path, itk_image(storable(grid.to_native(volume.data)), grid))


def itk_image(array: np.ndarray, grid: NativeGrid) -> Any:
    """SimpleITK image of an (i, j, k) array on a file grid."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.T))
    affine = _LPS_TO_RAS @ grid.affine
    spacing = spacing_of(affine)
    image.SetSpacing([float(s) for s in spacing])
    image.SetOrigin([float(v) for v in affine[:3, 3]])
    image.SetDirection([float(v) for v in (affine[:3, :3] / spacing).ravel()])
    return image


def write_image(path: Path, image: Any) -> None:
    """Write compressed; `.mhd` by way of the single-file form."""
    single = path.with_name(path.name + ".mha") if suffix_of(path) == ".mhd" else path
    try:
        sitk.WriteImage(image, str(single), useCompression=True)
        if single != path:
            os.replace(single, path)  # noqa: PTH105  # as in io.atomic
    finally:
        if single != path:
            with suppress(FileNotFoundError):
                single.unlink()
