"""The points that ask "where else does it look like this?", as a Points layer the user can edit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_medssl.widgets._layers import KEY
from napari_medssl.widgets._overlays import PROBES, find_overlay, voxels_place

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Points

    from napari_medssl.widgets._features import Features

LIKE, UNLIKE = "like", "unlike"
_KIND = "kind"
_COLORS = {LIKE: "#59d98c", UNLIKE: "#f2555a"}


def probes_of(viewer: ViewerModel, features: Features) -> Points | None:
    """The layer of a scan's probes."""
    from napari.layers import Points

    layer = find_overlay(viewer, features, PROBES)
    return layer if isinstance(layer, Points) else None


def read_probes(layer: Points | None, features: Features) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """(N, 3) and (M, 3) RAS mm of the points that are like and unlike; those beyond the scan do not count."""
    if layer is None or not len(layer.data):
        return np.zeros((0, 3)), np.zeros((0, 3))
    kinds = [str(kind) for kind in layer.features.get(_KIND, [LIKE] * len(layer.data))]
    places = np.asarray(layer.data, np.float64)[:, -3:]
    good = [features.holds(place) for place in places]
    wanted = [kind != UNLIKE for kind in kinds]
    points = features.mm_of_index(places)
    like = np.array([w and g for w, g in zip(wanted, good, strict=True)], bool)
    unlike = np.array([not w and g for w, g in zip(wanted, good, strict=True)], bool)
    return points[like], points[unlike]


def write_probes(viewer: ViewerModel, features: Features, places: npt.NDArray[Any], kinds: list[str]) -> Points:
    """Show points at voxel indices (N, 3) of a scan, in a new layer when there is none; the active layer stays so."""
    layer = probes_of(viewer, features)
    if layer is None:
        layer = _add(viewer, features)
    data = np.asarray(places, np.float64).reshape(-1, 3)
    with layer.events.data.blocker():  # points and kinds change together
        layer.data = data
        layer.features = {_KIND: np.array(kinds, dtype=object)}
    layer.selected_data = set()
    # What the user adds with napari's own tool is like what is looked for.
    layer.feature_defaults = {_KIND: LIKE}
    layer.face_color = [_COLORS[k] for k in kinds] if kinds else _COLORS[LIKE]
    layer.current_face_color = _COLORS[LIKE]
    layer.refresh()
    return layer


def listed(layer: Points | None) -> tuple[npt.NDArray[Any], list[str]]:
    """Places and kinds of a layer; none without it."""
    if layer is None or not len(layer.data):
        return np.zeros((0, 3)), []
    kinds = [UNLIKE if str(k) == UNLIKE else LIKE for k in layer.features.get(_KIND, [LIKE] * len(layer.data))]
    return np.asarray(layer.data, np.float64)[:, -3:], kinds


def point_size(features: Features) -> float:
    """In voxels: a fixed share of the picture, whatever its resolution."""
    return max(3.0, min(features.volume.shape[1:]) / 45)


def _add(viewer: ViewerModel, features: Features) -> Points:
    active = viewer.layers.selection.active
    from napari.layers import Points

    layer = Points(
        np.zeros((0, 3)), ndim=3, name=f"{features.name} probes", size=point_size(features),
        features={_KIND: np.array([], dtype=object)}, border_color="white", border_width=0.15, symbol="disc",
        out_of_slice_display=False, metadata={KEY: {"role": PROBES, "of": features.image.unique_id, "what": ""}},
        **voxels_place(features),
    )  # fmt: skip
    viewer.add_layer(layer)  # what `add_points` gives a plugin is a proxy
    viewer.layers.selection.active = active
    return layer
