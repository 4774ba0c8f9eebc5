"""A Labels layer as a region of a scan's patient space."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_medssl.errors import GeometryError, SupportError
from napari_medssl.volume import Volume
from napari_medssl.widgets._overlays import world_matrix

if TYPE_CHECKING:
    from napari.layers import Labels, Layer

    from napari_medssl.widgets._features import Features


def region_of(layer: Layer | None, features: Features) -> Volume:
    """Labels where the viewer shows them over the scan, whatever their own grid; a copy, so painting may go on.

    Raises SupportError without a layer or without a label, GeometryError for one that is not 3D.
    """
    if layer is None:
        raise SupportError("no labels are chosen; draw a region in a Labels layer over the scan and choose it")
    data = np.array(layer.data)
    if data.ndim != 3:
        raise GeometryError(f"'{layer.name}' has {data.ndim} axes; a region in the scan needs 3 (Z, Y, X)")
    if not data.any():
        raise SupportError(f"'{layer.name}' is empty; paint the region you mean, then try again")
    onto_scan = np.linalg.solve(world_matrix(features.image), world_matrix(layer))  # label index to voxel index
    if data.shape == features.volume.shape and np.allclose(onto_scan, np.eye(4), atol=1e-3):
        return features.volume.like(data)
    return Volume(data, features.affine @ onto_scan)


def chosen_value(layer: Labels, data: np.ndarray) -> int | None:
    """The label in hand when the region has it; None, for all labels together, when it has not."""
    value = int(layer.selected_label)
    return value if value and bool((data == value).any()) else None
