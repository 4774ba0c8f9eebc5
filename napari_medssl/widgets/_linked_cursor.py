"""A cross on the place of another scan that is most like the one picked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_medssl.widgets._layers import KEY, facts_of
from napari_medssl.widgets._overlays import CURSOR, find_overlay, voxels_place
from napari_medssl.widgets._probes import point_size

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_medssl.widgets._features import Features


def show_cursor(
    viewer: ViewerModel, features: Features, point_mm: npt.NDArray[np.float64], likeness: float
) -> npt.NDArray[np.float64]:
    """Move the cross of a scan to a RAS point and return its (3,) place in the viewer's world."""
    from napari.layers import Points

    place = features.index_of_mm(point_mm)
    layer = find_overlay(viewer, features, CURSOR)
    report: dict[str, Any] = features.provenance(kind="nearest place", likeness=likeness)
    if isinstance(layer, Points):
        layer.data = place
        facts_of(layer).update(report=report)
    else:
        active = viewer.layers.selection.active
        layer = viewer.add_points(
            place, name=f"{features.name} linked cursor", symbol="cross", face_color="#ffd400", border_width=0,
            size=1.6 * point_size(features), out_of_slice_display=False, visible=bool(features.image.visible),
            metadata={KEY: {"role": CURSOR, "of": features.image.unique_id, "what": "", "report": report}},
            **voxels_place(features),
        )  # fmt: skip
        viewer.layers.selection.active = active
    return np.asarray(layer.data_to_world(place[0]), np.float64)
