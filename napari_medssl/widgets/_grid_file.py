"""Saved features as a layer: how a file of them is told, and what the reader shows of it."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from napari_medssl.volume import Volume
from napari_medssl.widgets._layers import KEY, grid_of

ROLE = "feature grid"
_ZARR_FACTS = "feature_grid"  # the attribute a grid's Zarr describes itself under


def grid_layer(path: Path) -> tuple[np.ndarray, dict[str, Any], str]:
    """The layer data tuple of saved features: their first components as colours, in the place of the scan.

    Raises FormatError for a file that holds no features.
    """
    from napari_medssl.dense.files import load_grid
    from napari_medssl.explore.colours import fit_colours

    grid = load_grid(path)
    rgb = np.asarray(np.rint(255 * fit_colours(grid).rgb(grid)), np.uint8)
    place = Volume(np.broadcast_to(np.float32(0), grid.shape), grid.affine)  # cells as if they were voxels
    report = {"source": dict(grid.source), "encoder": dict(grid.encoder)}
    facts: dict[str, Any] = {"role": ROLE, "of": None, "grid": grid, "report": report}
    look = {"rgb": True, "opacity": 0.6, "blending": "translucent", "interpolation2d": "linear"}
    return rgb, {"name": f"{path.stem}", "metadata": {KEY: facts}, **look, **grid_of(place)}, "image"


def is_grid_file(path: Path) -> bool:
    """Whether a path holds saved features, from its list of contents alone."""
    try:
        if path.suffix.lower() == ".zarr":
            attributes = path / ".zattrs"
            return attributes.is_file() and _ZARR_FACTS in json.loads(attributes.read_text(encoding="utf-8"))
        if path.suffix.lower() == ".npz" and path.is_file():
            with zipfile.ZipFile(path) as archive:
                return {"data.npy", "facts.npy"} <= set(archive.namelist())
    except (OSError, ValueError, zipfile.BadZipFile):
        return False  # damaged: whoever reads it says what is wrong
    return False
