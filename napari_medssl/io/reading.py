"""Reading a scan or a label map from any supported file or folder."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from napari_medssl.io.damage import check_readable, damage_as_error
from napari_medssl.io.formats import format_to_read
from napari_medssl.io.request import Request
from napari_medssl.volume import Volume


def read(
    path: str | os.PathLike[str], labels: bool = False, *, series: str | int | None = None, index: int | None = None
) -> Volume:
    """A scan, or with `labels` a label map, as a Volume with axes (Z, Y, X) in the radiological view.

    path: NIfTI (.nii, .nii.gz), .mgz, NRRD (.nrrd, .nhdr, .seg.nrrd), MetaImage (.mha, .mhd), .npz, one DICOM file or a
        folder with a DICOM series. An unknown ending is recognised by the file's first bytes.
    labels: round to whole numbers, keep them in uint8 or uint16, and read names and colours where the file or its
        side-car has them. The grid comes out as without `labels`.
    series: which DICOM series of a folder, by its UID, its number or its exact description.
    index: which volume of a 4D file or of a DICOM series with several (echoes, time points); the first one by default,
        said so in the notes.

    What had to be assumed is in `Volume.notes`. Raises FormatError or GeometryError, each saying what to do.
    """
    path = Path(path).expanduser()
    check_readable(path)
    with damage_as_error(path):
        module = format_to_read(path).load()
    with damage_as_error(path, *module.PARSER_ERRORS):
        volume: Volume = module.read(path, Request(labels, series, index))
    return dataclasses.replace(volume, source=path)
