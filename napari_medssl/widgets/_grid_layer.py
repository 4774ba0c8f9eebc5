"""Layers of saved features, and the open scan they belong to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_medssl.dense.grid import FeatureGrid
from napari_medssl.volume import Volume
from napari_medssl.widgets._layers import facts_of, layer_affine
from napari_medssl.widgets._options import is_scan

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Layer


def is_grid_layer(layer: Layer) -> bool:
    """Whether a layer shows saved features."""
    return isinstance(facts_of(layer).get("grid"), FeatureGrid)


def grid_of_layer(layer: Layer) -> FeatureGrid:
    """The features a layer shows."""
    grid: FeatureGrid = facts_of(layer)["grid"]
    return grid


def scan_of_grid(viewer: ViewerModel, grid: FeatureGrid) -> Image | None:
    """The open scan with the shape and place of the one the features were made from."""
    shape, affine = grid.source.get("shape"), grid.source.get("affine")
    if shape is None or affine is None:
        return None
    for layer in reversed(viewer.layers):
        if not is_scan(layer) or getattr(layer, "rgb", False) or tuple(layer.data.shape) != tuple(shape):
            continue
        volume = facts_of(layer).get("volume")
        own = volume.affine if isinstance(volume, Volume) and volume.shape == tuple(shape) else layer_affine(layer)
        if np.allclose(own, np.asarray(affine, np.float64), atol=1e-2):
            found: Image = layer
            return found
    return None
