"""NIfTI-1 and NIfTI-2 (.nii, .nii.gz), and FreeSurfer's .mgz for reading."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, cast

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.fileholders import FileHolder
from nibabel.spatialimages import HeaderDataError, HeaderTypeError, ImageDataError
from nibabel.wrapstruct import WrapStructError

from napari_medssl.errors import FormatError, GeometryError
from napari_medssl.geometry import check_affine, file_grid, is_sheared, native_grid
from napari_medssl.io.formats import suffix_of
from napari_medssl.io.label_table import read_table
from napari_medssl.io.label_values import as_labels, complete
from napari_medssl.io.limits import check_claim
from napari_medssl.io.modality import guess_modality
from napari_medssl.io.request import Request
from napari_medssl.io.rescale import native_bytes, rescale, storable
from napari_medssl.io.several import choose_volume
from napari_medssl.volume import Affine, NativeGrid, Volume

PARSER_ERRORS = (HeaderDataError, HeaderTypeError, ImageDataError, ImageFileError, WrapStructError)
# nibabel is only half annotated; its objects are taken as they are.
nib: Any = nibabel
# Measured on an abdominal CT and its mask: level 9 saves another 4 and 15 % and takes six to eight times as long.
_COMPRESSION = 6
_GZIP = b"\x1f\x8b"
_MM_PER_UNIT = {1: 1000.0, 2: 1.0, 3: 0.001}  # metre, millimetre, micrometre: the low three bits of xyzt_units
_INTENT_LABEL = 1002
_MAX_DIM_NIFTI1 = 32767


def read(path: Path, request: Request) -> Volume:
    """The volume of a NIfTI or MGH file, in the radiological order of `native_grid`.

    Scaled by scl_slope and scl_inter; a CT stored with whole-number scaling stays int16. Geometry from the sform
    when its code is set, else from the qform, else from the voxel sizes alone (stated in the notes). Lengths in metres
    or micrometres become mm. 4D files: volume `request.index`, or the first one with a note.

    Raises FormatError for damaged files, complex or colour voxels and other than 2 to 4 dimensions.
    """
    compressed = _is_gzip(path)
    with closing(_open(path, compressed)) as stream:
        image = _image(path, stream, compressed)
        stored, notes = _voxels(path, image, request.index, compressed)
        if compressed and image.dataobj.ndim < 4:
            stream.seek(0, io.SEEK_END)  # gzip compares the checksum only at the very end
        slope, inter = float(image.dataobj.slope), float(image.dataobj.inter)
        if suffix_of(path) in (".mgz", ".mgh"):
            affine, header, more = check_affine(image.affine), {"format": "mgh"}, list[str]()
        else:
            affine, header, more = _place(image.header, stored.shape)
    grid = native_grid(affine, stored.shape, header=header)
    data = native_bytes(grid.to_zyx(rescale(stored, slope, inter)))
    notes = (*notes, *more)
    if request.labels:
        data = as_labels(data, path)
        return Volume(data, grid.zyx_affine(), "auto", complete(read_table(path), data), grid, path, notes)
    return Volume(data, grid.zyx_affine(), guess_modality(data), (), grid, path, notes)


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as handle:
        return handle.read(2) == _GZIP


def _open(path: Path, compressed: bool) -> io.IOBase:
    # By content, not by name: files named .nii.gz that nobody compressed are common, and the other way round.
    return cast(io.IOBase, gzip.open(path)) if compressed else path.open("rb")


def _image(path: Path, stream: Any, compressed: bool) -> Any:
    if suffix_of(path) in (".mgz", ".mgh"):
        return nib.MGHImage.from_file_map({"image": FileHolder(fileobj=stream)})
    head = stream.read(348)
    stream.seek(0)
    size = {int.from_bytes(head[:4], "little"), int.from_bytes(head[:4], "big")}
    if len(head) < 348:
        raise FormatError(f"{path} is no NIfTI file: it ends after {len(head)} bytes, the header alone needs 348")
    if head[344:347] == b"ni1":
        raise FormatError(f"{path} is half of a two-file NIfTI (.hdr and .img); convert it to a single .nii.gz first")
    if 540 in size and head[4:7] == b"n+2":
        kind: Any = nib.Nifti2Image
    elif 348 in size and head[344:347] == b"n+1":
        kind = nib.Nifti1Image
    else:
        raise FormatError(f"{path} is no NIfTI file: the mark 'n+1' is missing from its header")
    return kind.from_file_map({"header": FileHolder(fileobj=stream), "image": FileHolder(fileobj=stream)})


def _voxels(path: Path, image: Any, index: int | None, compressed: bool) -> tuple[np.ndarray, tuple[str, ...]]:
    """Stored (i, j, k) numbers of one volume, before scaling, and what had to be assumed."""
    proxy = image.dataobj
    shape, kind = tuple(int(n) for n in proxy.shape), proxy.dtype
    if kind.kind not in "iufb":
        what = "complex numbers" if kind.kind == "c" else "colours or records"
        raise FormatError(f"{path} holds {what} ({kind}); only files with one real number per voxel are supported")
    stored = path.stat().st_size - (0 if compressed else int(proxy.offset))
    check_claim(path, shape, kind.itemsize, stored_bytes=max(stored, 0), compressed=compressed)
    while len(shape) > 4 and shape[-1] == 1:
        shape = shape[:-1]
    choice, notes = choose_volume(path, shape, index)
    # The numbers as stored: scaling through nibabel would go by way of float64.
    raw = nib.arrayproxy.ArrayProxy(proxy.file_like, (proxy.shape, kind, proxy.offset), mmap=False, order=proxy.order)
    array = np.asanyarray(raw[(..., *choice, *(0,) * (len(proxy.shape) - len(shape)))])
    return array.reshape((*array.shape, 1)) if array.ndim == 2 else array, notes


def _place(header: Any, shape: tuple[int, ...]) -> tuple[Affine, dict[str, Any], list[str]]:
    """The affine in mm, the header to write it again, and notes."""
    forms = [("sform", _form(header, "sform")), ("qform", _form(header, "qform"))]
    valid = [(name, form) for name, form in forms if form is not None and _usable(form)]
    notes = [
        f"the header's {name} is damaged and was not used"
        for name, form in forms
        if form is not None and not _usable(form)
    ]
    if not valid and notes and not _usable(header.get_base_affine()):
        raise GeometryError("the header places the voxels with numbers that are no affine (NaN, or a voxel size of 0)")
    affine = valid[0][1] if valid else header.get_base_affine()
    if not valid:
        notes.append(
            "the file does not say how the patient lies: left/right and the position are assumed from the axis order"
        )
    if len(valid) == 2 and _apart_vox(valid[0][1], valid[1][1], shape) > 0.5:
        notes.append(
            "sform and qform place the volume differently "
            f"(by up to {_apart_vox(valid[0][1], valid[1][1], shape):.1f} voxels); the sform was used"
        )
    unit = _MM_PER_UNIT.get(int(header["xyzt_units"]) & 7, 1.0)
    if unit != 1.0:
        notes.append("the file's lengths are not in mm; they were converted")
        affine = np.diag([unit, unit, unit, 1.0]) @ affine
    kept: dict[str, Any] = {"format": "nifti"}
    if np.array_equal(affine, _unit_scaled(header.get_best_affine(), unit)):
        kept["nifti"] = header.binaryblock
    return check_affine(affine), kept, notes


def _unit_scaled(affine: Affine, unit: float) -> Affine:
    """An affine with lengths in `unit` mm as one in mm."""
    return np.asarray(affine if unit == 1.0 else np.diag([unit, unit, unit, 1.0]) @ affine)


def _form(header: Any, name: str) -> Affine | None:
    """The affine of a form whose code is set; a matrix of NaN when its numbers cannot be turned into one."""
    if int(header[f"{name}_code"]) <= 0:
        return None
    try:
        return np.asarray(header.get_sform() if name == "sform" else header.get_qform(), np.float64)
    except (HeaderDataError, ValueError):
        return np.full((4, 4), np.nan)


def _usable(affine: Affine) -> bool:
    return bool(np.isfinite(affine).all() and abs(np.linalg.det(affine[:3, :3])) > 1e-12)


def _apart_vox(a: Affine, b: Affine, shape: tuple[int, ...]) -> float:
    """Largest distance between the two places of a corner voxel, in voxels of the first."""
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in shape[:3]], indexing="ij")).reshape(3, 8)
    moved = np.linalg.solve(a[:3, :3], (b[:3, :3] @ corners + b[:3, 3:]) - a[:3, 3:])
    return float(np.linalg.norm(moved - corners, axis=0).max())


def write(path: Path, volume: Volume) -> None:
    """Write a volume on its source's own grid.

    A volume read from NIfTI (or made with `like` from one) gets its source's header back: both forms with their codes,
    units and slice order, bit for bit. Others get an sform, and a qform too when the grid is not sheared.
    """
    grid = file_grid(volume)
    array = storable(grid.to_native(volume.data))
    write_array(path, array, grid, intent=_INTENT_LABEL if volume.labels else 0)


def write_array(path: Path, array: np.ndarray, grid: NativeGrid, *, intent: int = 0) -> None:
    """Write (i, j, k) values of any type NIfTI has, colours included, with the header of the grid's file.

    intent: the code that says what the values are.
    """
    header = _source_header(grid)
    if header is None:
        header = _new_header(grid)
    elif int(header["dim"][0]) == 2:
        array = array[..., 0]
    header.set_data_dtype(array.dtype)
    header["cal_min"] = header["cal_max"] = 0
    header["intent_code"] = intent
    kind = nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image
    image = kind(array, header.get_best_affine(), header)
    with _create(path) as stream:
        image.to_stream(stream)


@contextmanager
def _create(path: Path) -> Iterator[Any]:
    """A file to write, compressed when its name says so; equal masks make equal files (no name, no time)."""
    with path.open("wb") as plain:
        if path.suffix != ".gz":
            yield plain
            return
        with gzip.GzipFile(filename="", mode="wb", compresslevel=_COMPRESSION, fileobj=plain, mtime=0) as packed:
            yield packed


def _source_header(grid: NativeGrid) -> Any:
    block = grid.header.get("nifti")
    if block is None:
        return None
    kind = nib.Nifti2Header if len(block) == 540 else nib.Nifti1Header
    return kind(block, endianness="<" if int.from_bytes(block[:4], "little") in (348, 540) else ">").as_byteswapped("<")


def _new_header(grid: NativeGrid) -> Any:
    header = nib.Nifti2Header() if max(grid.shape) > _MAX_DIM_NIFTI1 else nib.Nifti1Header()
    header.set_data_shape(grid.shape)
    # "scanner" is only true for what a scanner's file said; "aligned" promises nothing but consistency.
    code = "scanner" if grid.header.get("format") == "dicom" else "aligned"
    header.set_sform(grid.affine, code)
    header.set_qform(grid.affine, 0 if is_sheared(grid.affine) else code, strip_shears=True)
    header.set_xyzt_units("mm")
    return header
