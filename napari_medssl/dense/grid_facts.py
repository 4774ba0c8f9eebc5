"""What a stored grid says about itself, beside its vectors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from napari_medssl.dense.grid import FeatureGrid
from napari_medssl.errors import FormatError
from napari_medssl.report import plain

NAME = "napari-medssl feature grid"
VERSION = 1


def facts_of(grid: FeatureGrid) -> dict[str, Any]:
    """Plain JSON values: format, version, affine, source, encoder."""
    facts = {"format": NAME, "version": VERSION, "affine": grid.affine, "source": grid.source, "encoder": grid.encoder}
    known: dict[str, Any] = plain(facts)
    return known


def grid_from(data: Any, facts: Any, path: Path) -> FeatureGrid:
    """The grid of stored vectors and facts.

    Raises FormatError when the facts are those of something else or of a later version, GeometryError when vectors and
    affine make no grid.
    """
    if not isinstance(facts, dict) or facts.get("format") != NAME:
        raise FormatError(f"{path} holds no feature grid; give a file or folder that `medssl features` wrote")
    version = facts.get("version")
    if not isinstance(version, int) or version > VERSION:
        raise FormatError(f"{path} is of version {version}, written by a newer napari-medssl; update this one")
    if np.dtype(data.dtype) not in (np.dtype(np.float16), np.dtype(np.float32)):
        raise FormatError(f"{path} holds vectors of type {data.dtype}; a feature grid has float16 or float32")
    try:
        affine = np.asarray(facts["affine"], np.float64)
        source, encoder = dict(facts["source"]), dict(facts["encoder"])
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(f"{path} does not say where its cells lie ({error}); extract the features again") from error
    return FeatureGrid(data, affine, source, encoder)


def parsed(text: str, path: Path) -> Any:
    """JSON, or FormatError."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise FormatError(f"{path} is damaged: its description is no JSON ({error}); extract again") from error
