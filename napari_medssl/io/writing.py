"""Writing a scan or a label map, whole or not at all."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from napari_medssl.errors import FormatError
from napari_medssl.io.atomic import replacing
from napari_medssl.io.formats import Format, format_to_write, suffix_of
from napari_medssl.io.label_table import table_path, table_text
from napari_medssl.io.label_values import as_labels, complete
from napari_medssl.volume import Volume

# These carry names and colours inside; the others get a side-car.
_OWN_TABLE = (".seg.nrrd", ".npz")


def write(path: str | os.PathLike[str], volume: Volume) -> None:
    """Write a volume in the format its name asks for, on the grid of the file it was read from.

    path: .nii, .nii.gz, .nrrd, .mha, .mhd, .npz, or .seg.nrrd for label maps. A volume with `labels` is written as
    `write_segmentation` does. An existing file is replaced only when the new one is complete on the disk.

    Raises FormatError (unknown ending, missing folder, full disk) or GeometryError (the format cannot hold the grid).
    """
    path = Path(path).expanduser()
    kind = format_to_write(path)
    if volume.labels or suffix_of(path) == ".seg.nrrd":
        write_segmentation(path, volume)
        return
    with replacing(path) as (temp,):
        _write(kind, temp, volume)


def write_segmentation(path: str | os.PathLike[str], volume: Volume) -> None:
    """Write a label map as uint8 (uint16 when it needs it) with the names and colours of its organs.

    volume: `data` in whole numbers from 0; labels without an entry in `volume.labels` get a default name and colour.
    .seg.nrrd and .npz carry the table inside; the other formats get a side-car `NAME.labels.json` with value, name,
    color, voxels and volume_ml per organ. Mask and side-car are both complete on the disk before either is replaced.

    Raises FormatError also for fractional or negative values.
    """
    path = Path(path).expanduser()
    kind = format_to_write(path)
    data = as_labels(volume.data, path.name)
    volume = dataclasses.replace(volume, data=data, labels=complete(volume.labels, data))
    if suffix_of(path) in _OWN_TABLE:
        with replacing(path) as (temp,):
            _write(kind, temp, volume)
        return
    with replacing(path, table_path(path)) as (temp, table):
        _write(kind, temp, volume)
        table.write_text(table_text(volume, path), encoding="utf-8")


def _write(kind: Format, temp: Path, volume: Volume) -> None:
    try:
        kind.load().write(temp, volume)
    except RuntimeError as error:  # SimpleITK's only exception, a full disk included
        raise FormatError(f"could not write {kind.name}: {str(error).strip().splitlines()[-1]}") from error
