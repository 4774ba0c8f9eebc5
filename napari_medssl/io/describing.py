"""Facts about a file, ready for JSON."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_medssl.geometry import is_oblique, is_sheared, orientation_codes, plane_name
from napari_medssl.io.damage import check_readable, damage_as_error
from napari_medssl.io.formats import DICOM, format_to_read
from napari_medssl.io.reading import read
from napari_medssl.volume import Volume

if TYPE_CHECKING:
    from napari_medssl.io.dicom_series import Series


def describe(
    path: str | os.PathLike[str], *, series: str | int | None = None, index: int | None = None
) -> dict[str, Any]:
    """What a file or folder holds: format, series (DICOM), and grid, intensities and notes of the volume it gives.

    A folder with several series lists them and describes the volume only when `series` chooses one. Reads the voxels.
    Raises what `read` raises.
    """
    path = Path(path).expanduser()
    check_readable(path)
    with damage_as_error(path):
        kind = format_to_read(path)
    facts: dict[str, Any] = {"path": str(path), "format": kind.name}
    if kind is DICOM:
        facts["series"] = _series(path)
        if len(facts["series"]) > 1 and series is None:
            return facts
    return facts | describe_volume(read(path, series=series, index=index))


def list_series(path: str | os.PathLike[str]) -> tuple[Series, ...]:
    """The image series in a DICOM folder and its subfolders (or in one file), by number.

    Localizers are listed only when there is nothing else. Raises FormatError when there is no readable slice.
    """
    from napari_medssl.io.dicom_series import series_in  # pydicom is loaded with the first DICOM file

    path = Path(path).expanduser()
    check_readable(path)
    with damage_as_error(path):
        return series_in(path)


def _series(path: Path) -> list[dict[str, Any]]:
    from napari_medssl.io import dicom_series  # pydicom only where it is needed

    return [
        {
            "uid": s.uid,
            "number": s.number,
            "description": s.description,
            "modality": s.modality,
            "slices": s.n_slices,
            "volumes": [str(stack) for stack in s.stacks],
        }
        for s in dicom_series.find(path).series
    ]


def describe_volume(volume: Volume) -> dict[str, Any]:
    """Grid, intensities, organs and notes of a volume, ready for JSON."""
    values = volume.data[np.isfinite(volume.data)] if volume.data.dtype.kind == "f" else volume.data
    native = volume.native
    facts: dict[str, Any] = {
        "shape_zyx": list(volume.shape),
        "spacing_mm_zyx": [round(s, 6) for s in volume.spacing_mm],
        "plane": plane_name(volume),
        "orientation_zyx": list(orientation_codes(volume)),
        "oblique": is_oblique(volume.affine),
        "sheared": is_sheared(volume.affine),
        "affine_zyx_to_ras_mm": volume.affine.tolist(),
        "file_shape": list(native.shape) if native else None,
        "file_affine": native.affine.tolist() if native else None,
        "type": str(volume.data.dtype),
        "modality": volume.modality,
        "min": float(values.min()) if values.size else None,
        "max": float(values.max()) if values.size else None,
        "not_finite": int(volume.data.size - values.size),
        "sha256": volume.content_hash,
        "notes": list(volume.notes),
    }
    if volume.labels:
        counts = np.bincount(volume.data.ravel(), minlength=max(v.value for v in volume.labels) + 1)
        facts["labels"] = [
            {"value": v.value, "name": v.name, "color": list(v.color), "voxels": int(counts[v.value])}
            | {"volume_ml": round(float(counts[v.value]) * volume.voxel_ml, 4)}
            for v in volume.labels
        ]
    return facts
