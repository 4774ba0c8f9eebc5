"""Marked slices as a Points layer: a point per slice and class, with the class's name on the canvas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from napari_medssl.labels import PALETTE
from napari_medssl.widgets._layers import KEY, facts_of, mark, role_of
from napari_medssl.widgets._support import transform_of

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Layer, Points

NOTHING = "(none of these)"
"""What the point of a slice says that shows none of the classes."""

ROLE = "slice marks"
_CLASS = "class"  # column of the layer's features; a saved layer keeps it
_LEFT, _TOP, _STEP = 0.03, 0.06, 0.055  # of the slice: where the names stand, below each other

Marked = dict[int, tuple[str, ...]]
"""Slice to the classes it shows, in their order; an empty tuple: none of them."""


def color_of(number: int) -> tuple[int, int, int]:
    """RGB bytes of the class with this number, counted from 0."""
    return PALETTE[number % len(PALETTE)]


def marks_layer(viewer: ViewerModel, image: Layer) -> Points | None:
    """The layer that holds the marks of a scan; the newest one."""
    from napari.layers import Points

    for layer in reversed(viewer.layers):
        if isinstance(layer, Points) and role_of(layer) == (ROLE, image.unique_id):
            return layer
    return None


def is_saved_marks(layer: Layer) -> bool:
    """Whether a layer holds marks but belongs to no scan, such as one that was saved and opened again."""
    from napari.layers import Points

    return (
        isinstance(layer, Points) and role_of(layer)[0] == "" and _CLASS in layer.features and layer.data.shape[1] == 3
    )


def adopt(layer: Points, image: Image) -> None:
    """Make a layer of saved marks that of a scan."""
    mark(layer, role=ROLE, of=image.unique_id)


def read_marks(layer: Points | None, depth: int) -> Marked:
    """What the points say; those outside the scan's slices, or without a class, say nothing."""
    marked: dict[int, list[str]] = {}
    if layer is None or _CLASS not in layer.features:
        return {}
    for place, name in zip(layer.data, layer.features[_CLASS], strict=True):
        z = round(float(place[0]))
        if 0 <= z < depth and isinstance(name, str) and name:
            marked.setdefault(z, [])
            if name != NOTHING and name not in marked[z]:
                marked[z].append(name)
    return {z: tuple(names) for z, names in sorted(marked.items())}


def write_marks(viewer: ViewerModel, image: Image, marked: Mapping[int, Sequence[str]], classes: Sequence[str]) -> None:
    """Show these marks of a scan, in a new layer when there is none; the active layer stays active."""
    layer = marks_layer(viewer, image)
    if layer is None:
        if not marked:
            return
        layer = _add_layer(viewer, image)
    rows = [(z, place, name) for z, names in sorted(marked.items()) for place, name in _named(names, classes)]
    height, width = image.data.shape[-2:]
    layer.data = np.array([(z, (_TOP + _STEP * p) * height, _LEFT * width) for z, p, _ in rows]).reshape(-1, 3)
    layer.features = {_CLASS: np.array([name for _, _, name in rows], dtype=object)}
    if rows:
        colors = [(*color_of(classes.index(n)), 255) if n in classes else (153, 153, 153, 255) for _, _, n in rows]
        layer.face_color = np.array(colors) / 255
    layer.selected_data = set()
    facts_of(layer)["classes"] = tuple(classes)


def _named(names: Sequence[str], classes: Sequence[str]) -> list[tuple[int, str]]:
    """(row on the slice, name) of each class."""
    ordered = sorted(names, key=lambda name: classes.index(name) if name in classes else len(classes))
    return list(enumerate(ordered)) or [(0, NOTHING)]


def _add_layer(viewer: ViewerModel, image: Image) -> Points:
    active = viewer.layers.selection.active
    layer = viewer.add_points(
        np.zeros((0, 3)),
        ndim=3,
        name=f"{image.name} slice marks",
        features={_CLASS: np.array([], dtype=object)},
        text={"string": "{class}", "size": 11, "anchor": "upper_left", "color": "white", "translation": [0, 0, 8]},
        size=max(3.0, min(image.data.shape[-2:]) / 40),
        border_width=0,
        metadata={KEY: {"role": ROLE, "of": image.unique_id}},
        **transform_of(image),
    )
    viewer.layers.selection.active = active
    return layer
