"""DICOM segmentation objects as label maps."""

from __future__ import annotations

import dataclasses
import sqlite3
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
from pydicom.dataset import Dataset

from napari_medssl.errors import FormatError
from napari_medssl.geometry import native_grid
from napari_medssl.io.dicom_frames import quiet_pydicom
from napari_medssl.io.label_values import as_labels, complete
from napari_medssl.io.rescale import native_bytes
from napari_medssl.labels import Label, default_label
from napari_medssl.volume import Volume

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
# CIELAB to linear sRGB under D65: IEC 61966-2-1 and CIE 15.
_WHITE = np.array([0.95047, 1.0, 1.08883])
_XYZ_TO_RGB = np.array([[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]])


def read(path: Path, notes: tuple[str, ...] = ()) -> Volume:
    """The segments of a SEG file, with their names and colours, on the slices the file covers.

    Where segments overlap the one with the higher number wins, which the notes say. Fractional segments are cut at 0.5.
    Empty slices are often left out of such files: `geometry.align_to` puts the result on its scan's grid.

    Raises FormatError when the segments lie on no regular grid (slide microscopy, projections).
    """
    with quiet_pydicom():
        seg = highdicom.seg.segread(path)
        try:
            volume, array, more = _combined(path, seg)
        except sqlite3.Error as error:  # highdicom looks frames up in a table, which has no positions here
            raise FormatError(
                f"{path} does not place its segments in the patient (it segments a projection)"
            ) from error
    affine = (_LPS_TO_RAS @ np.asarray(volume.affine, np.float64))[:, [2, 1, 0, 3]]  # (frame, row, column) to (i, j, k)
    data = array.transpose(2, 1, 0)
    grid = native_grid(affine, data.shape, stack_axis=2, header={"format": "dicom"})
    labels = as_labels(native_bytes(grid.to_zyx(data)), path)
    table = tuple(_label(seg.get_segment_description(n)) for n in seg.segment_numbers if n > 0)
    return Volume(labels, grid.zyx_affine(), "auto", complete(table, labels), grid, path, (*notes, *more))


def _combined(path: Path, seg: Any) -> tuple[Any, np.ndarray, tuple[str, ...]]:
    """highdicom's volume, the label array (frame, row, column), and notes."""
    if str(seg.get("SegmentationType")) == "FRACTIONAL":
        volume = seg.get_volume(combine_segments=False, rescale_fractional=True)
        shares = np.asarray(volume.array)
        numbers = np.asarray(list(seg.segment_numbers))
        labels = np.where(shares.max(-1) >= 0.5, numbers[shares.argmax(-1)], 0)
        return volume, labels, ("fractional segments were cut at 0.5",)
    try:
        volume = seg.get_volume(combine_segments=True)
        return volume, np.asarray(volume.array), ()
    except RuntimeError as error:
        if "overlap" not in str(error).lower():
            raise FormatError(f"{path} cannot be laid on a volume: {error}") from error
    volume = seg.get_volume(combine_segments=True, skip_overlap_checks=True)
    return volume, np.asarray(volume.array), ("segments overlap; where they do, the higher number was kept",)


def _label(description: Dataset) -> Label:
    number = int(description.SegmentNumber)
    name = str(description.get("SegmentLabel") or description.get("SegmentDescription") or "")
    plain = default_label(number)
    colour = description.get("RecommendedDisplayCIELabValue")
    return dataclasses.replace(plain, name=name or plain.name, color=_rgb(colour) if colour else plain.color)


def _rgb(colour: Any) -> tuple[int, int, int]:
    """RGB bytes of the standard's 16-bit CIELAB (PS3.3 C.10.7.1.1: L 0..100, a and b -128..127, each over 65535)."""
    lightness, a, b = (float(v) / 65535.0 for v in colour)
    fy = (lightness * 100.0 + 16.0) / 116.0
    f = np.array([fy + (a * 255.0 - 128.0) / 500.0, fy, fy - (b * 255.0 - 128.0) / 200.0])
    xyz = _WHITE * np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29))
    linear = np.clip(_XYZ_TO_RGB @ xyz, 0.0, 1.0)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    red, green, blue = (round(float(v) * 255) for v in encoded)
    return red, green, blue
