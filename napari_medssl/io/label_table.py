"""The side-car beside a mask: organ names, colours and volumes as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from napari_medssl.errors import FormatError
from napari_medssl.io.formats import stem_of
from napari_medssl.labels import Label
from napari_medssl.volume import Volume

_KIND = "label table"


def table_path(mask: Path) -> Path:
    """Where the table of a mask lies: `liver.nii.gz` has `liver.labels.json`."""
    return mask.with_name(f"{stem_of(mask)}.labels.json")


def table_text(volume: Volume, mask: Path) -> str:
    """JSON of the organs of a label map.

    Per organ: value, name, color (RGB bytes), voxels, volume_ml; for the whole: file, voxel_ml.
    """
    counts = np.bincount(volume.data.ravel()) if volume.data.size else np.zeros(1, int)
    rows = []
    for label in volume.labels:
        voxels = int(counts[label.value]) if label.value < len(counts) else 0
        row = {"value": label.value, "name": label.name, "color": list(label.color), "voxels": voxels}
        rows.append(row | {"volume_ml": round(voxels * volume.voxel_ml, 4)})
    facts = {"kind": _KIND, "version": 1, "file": mask.name, "voxel_ml": volume.voxel_ml, "labels": rows}
    return json.dumps(facts, indent=2, ensure_ascii=False) + "\n"


def read_table(mask: Path) -> tuple[Label, ...]:
    """The organs named in the side-car of `mask`; empty when there is none.

    Raises FormatError when a side-car is there but damaged: silently losing the names would be worse.
    """
    path = table_path(mask)
    if not path.is_file():
        return ()
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        return _labels(facts["labels"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FormatError(
            f"the label table {path} is damaged ({error}); repair it, or move it away to read the mask without names"
        ) from error


def _labels(rows: list[dict[str, Any]]) -> tuple[Label, ...]:
    labels = []
    for row in rows:
        red, green, blue = (int(c) for c in row["color"])
        if not all(0 <= c <= 255 for c in (red, green, blue)) or int(row["value"]) < 1:
            raise ValueError(f"label {row['value']} needs a value from 1 and colours in 0..255")
        labels.append(Label(int(row["value"]), str(row["name"]), (red, green, blue)))
    return tuple(labels)
