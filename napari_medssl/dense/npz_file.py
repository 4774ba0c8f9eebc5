"""Feature grids as NumPy archives: one file, read whole."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from napari_medssl.dense.grid import FeatureGrid
from napari_medssl.dense.grid_facts import facts_of, grid_from, parsed
from napari_medssl.errors import FormatError
from napari_medssl.io.atomic import replacing
from napari_medssl.io.damage import check_readable, damage_as_error
from napari_medssl.io.npz_headers import array_claims


def write_npz(path: Path, grid: FeatureGrid) -> None:
    """`data` (C, Z, Y, X) as it is, and `facts`, JSON text; no pickle. Not compressed: features hardly shrink.

    Raises FormatError when the disk refuses; an old file then stays as it was.
    """
    with replacing(path) as (part,), part.open("wb") as f:
        np.savez(f, data=np.asarray(grid.data), facts=np.array(json.dumps(facts_of(grid))))


def read_npz(path: Path) -> FeatureGrid:
    """Raises FormatError for a file that is damaged, of something else, or newer than this program."""
    check_readable(path)
    with damage_as_error(path):
        _check_sizes(path)
        with np.load(path, allow_pickle=False) as archive:
            if not {"data", "facts"} <= set(archive.files):
                raise FormatError(f"{path} holds no feature grid, only: {', '.join(archive.files) or 'nothing'}")
            facts = parsed(str(archive["facts"]), path)
            return grid_from(archive["data"], facts, path)


def _check_sizes(path: Path) -> None:
    """Refuse arrays whose headers claim more than the archive can hold; channels count as slices."""
    for claim in array_claims(path):
        shape = claim.shape
        if shape:
            claim.check(path, (shape[0] * shape[1], *shape[2:]) if len(shape) == 4 else shape)
