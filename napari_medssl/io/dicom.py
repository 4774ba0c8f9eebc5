"""DICOM: a folder with series, a multi-frame file, a single slice, a segmentation object."""

from __future__ import annotations

from pathlib import Path

from napari_medssl.errors import FormatError
from napari_medssl.geometry import native_grid
from napari_medssl.io.dicom_frames import PARSER_ERRORS, quiet_pydicom
from napari_medssl.io.dicom_pixels import load_pixels
from napari_medssl.io.dicom_series import Found, choose_series, find, nothing_found
from napari_medssl.io.dicom_stacks import stack_affine
from napari_medssl.io.label_values import as_labels, complete
from napari_medssl.io.request import Request
from napari_medssl.io.rescale import native_bytes
from napari_medssl.volume import Modality, Volume

__all__ = ["PARSER_ERRORS", "read"]


def read(path: Path, request: Request) -> Volume:
    """One volume of a DICOM file or folder; slices sorted by position, values in HU for CT.

    The stacking direction becomes Z whatever the spacing. The file grid is (column, row, slice), slices ascending along
    the cross product of row and column direction. A DICOM SEG comes out as a label map.

    Raises FormatError (nothing readable, several series) and GeometryError (missing, doubled or uneven slices).
    """
    found = find(path)
    if found.segmentations and (request.labels or not found.series):
        return _segmentation(path, found, request)
    if not found.series:
        raise nothing_found(path, found)
    series = choose_series(path, found.series, request.series)
    stack, notes = _choose_stack(path, [str(s) for s in series.stacks], request.index)
    frames = series.stacks[stack].frames
    affine, more = stack_affine(series.stacks[stack])
    first = frames[0]
    grid = native_grid(affine, (first.columns, first.rows, len(frames)), stack_axis=2, header={"format": "dicom"})
    with quiet_pydicom():
        pixels = load_pixels(frames)
    data = native_bytes(grid.to_zyx(pixels.transpose(2, 1, 0)))
    notes = (*found.notes, *series.stacks[stack].notes, *notes, *more)
    if path.is_file() and len(frames) == 1:
        notes += ("a single slice was read; give its folder to read the whole series",)
    if first.inverted:
        notes += ("the file says that high values are dark (MONOCHROME1); the values were kept as stored",)
    if request.labels:
        data = as_labels(data, path)
        return Volume(data, grid.zyx_affine(), "auto", complete((), data), grid, path, notes)
    return Volume(data, grid.zyx_affine(), _modality(first.modality), (), grid, path, notes)


def _modality(tag: str) -> Modality:
    return "CT" if tag == "CT" else "MR" if tag == "MR" else "auto"


def _choose_stack(path: Path, names: list[str], index: int | None) -> tuple[int, tuple[str, ...]]:
    listed = "; ".join(f"{i}: {name}" for i, name in enumerate(names))
    if index is not None and not 0 <= index < len(names):
        raise FormatError(f"the series in {path} has no volume {index}; it holds {listed}")
    if index is None and len(names) > 1:
        return 0, (
            f"the series holds {len(names)} volumes ({listed}); number 0 was read "
            "(choose with index=, on the command line --index)",
        )
    return index or 0, ()


def _segmentation(path: Path, found: Found, request: Request) -> Volume:
    from napari_medssl.io import dicom_seg  # brings highdicom, which few readings need

    number, notes = _choose_stack(path, [p.name for p in found.segmentations], request.index)
    return dicom_seg.read(found.segmentations[number], notes)
