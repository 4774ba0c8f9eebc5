"""Volumes as napari layers, and layers as volumes again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_medssl.errors import GeometryError
from napari_medssl.geometry import display_scale, display_translate
from napari_medssl.intensity import window_limits
from napari_medssl.labels import Label, default_label
from napari_medssl.volume import Affine, Volume

if TYPE_CHECKING:
    from napari.layers import Labels, Layer
    from napari.utils.colormaps import DirectLabelColormap

KEY = "medssl"
"""Where a layer's metadata keeps our facts: "volume" (a Volume with the true affine), "labels" (organs of a label
map), "role" and "of" (what a layer was made for), "report" (where a result comes from)."""

AXES = ("z", "y", "x")
_TO_MM = {"millimeter": 1.0, "micrometer": 1e-3, "centimeter": 10.0, "meter": 1e3, "nanometer": 1e-6}


def grid_of(volume: Volume) -> dict[str, Any]:
    """Layer arguments that show a volume in millimetres on its own grid.

    Only scale and translate: napari cannot slice along a rotated grid, so oblique volumes are shown along their own
    axes. The true affine stays in the Volume and is used on export.
    """
    return {
        "scale": display_scale(volume),
        "translate": display_translate(volume),
        "units": ("mm", "mm", "mm"),
        "axis_labels": AXES,
    }


def image_layer(volume: Volume, name: str) -> tuple[np.ndarray, dict[str, Any], str]:
    """The layer data tuple of a scan, with the contrast limits of its modality."""
    low, high = window_limits(volume)
    facts: dict[str, Any] = {"name": name, "metadata": {KEY: {"volume": volume}}, "colormap": "gray"}
    return volume.data, facts | {"contrast_limits": (low, high)} | grid_of(volume), "image"


def labels_layer(
    volume: Volume, name: str, *, organs: Sequence[Label] | None = None
) -> tuple[np.ndarray, dict[str, Any], str]:
    """The layer data tuple of a label map, with names and colours. organs: default those of the volume."""
    organs = complete(volume.labels, volume.data) if organs is None else tuple(organs)
    facts = {
        "name": name,
        "metadata": {KEY: {"volume": volume, "labels": organs}},
        "colormap": colormap(organs),
        "features": features(organs),
    }
    return volume.data, facts | grid_of(volume), "labels"


def complete(labels: Sequence[Label], data: np.ndarray) -> tuple[Label, ...]:
    """`labels` plus a default one for every other value present in `data`."""
    known = {label.value for label in labels}
    extra = (int(v) for v in np.unique(data) if v > 0 and int(v) not in known)
    return tuple(sorted((*labels, *map(default_label, extra)), key=lambda label: label.value))


def colormap(labels: Sequence[Label]) -> DirectLabelColormap:
    """Colours of a Labels layer; values without a label are drawn in the default palette's colour."""
    from napari.utils.colormaps import DirectLabelColormap

    colors: dict[int | None, Any] = defaultdict(lambda: np.array([0.6, 0.6, 0.6, 1.0]))
    colors[0] = np.zeros(4)
    colors[None] = np.array([0.6, 0.6, 0.6, 1.0])
    for label in labels:
        colors[label.value] = np.array([*label.color, 255]) / 255.0
    return DirectLabelColormap(color_dict=colors)


def features(labels: Sequence[Label]) -> dict[str, list[Any]]:
    """Rows for Labels.features: napari shows the name of the organ under the mouse."""
    return {
        "index": [0, *(label.value for label in labels)],
        "organ": ["background", *(label.name for label in labels)],
    }


def organs_of(layer: Labels) -> tuple[Label, ...]:
    """The organs a Labels layer names; present values without a name get a default."""
    return tuple(facts_of(layer).get("labels", ())) or complete((), np.asarray(layer.data))


def name_organs(layer: Labels, organs: Sequence[Label]) -> None:
    """Give a Labels layer names and colours, keeping its brush's label."""
    selected = layer.selected_label
    facts_of(layer)["labels"] = tuple(organs)
    layer.colormap = colormap(organs)
    layer.features = features(organs)
    layer.selected_label = selected


def role_of(layer: Layer) -> tuple[str, Any]:
    """What the plugin made a layer for ("support", "result", "probability" or ""), and the id of its scan's layer."""
    facts = facts_of(layer)
    return facts.get("role", ""), facts.get("of")


def mark(layer: Layer, **facts: Any) -> None:
    """Add facts to a layer's own entry."""
    facts_of(layer).update(facts)


def report_of(layer: Layer) -> dict[str, Any]:
    """Where a result layer comes from; empty for other layers."""
    return dict(facts_of(layer).get("report", {}))


def facts_of(layer: Layer) -> dict[str, Any]:
    """Our entry in a layer's metadata, to be read or added to."""
    facts: dict[str, Any] = layer.metadata.setdefault(KEY, {})
    return facts


def layer_affine(layer: Layer) -> Affine:
    """(4, 4) index (z, y, x) to RAS mm from a layer's own transform.

    napari knows no patient directions: z is taken as superior, y as posterior, x as left, the radiological view.
    Units other than lengths (pixels) count as millimetres.
    """
    corners = np.vstack([np.zeros(3), np.eye(3)])
    world = np.array([layer.data_to_world(c) for c in corners], np.float64)
    world *= np.array([_TO_MM.get(str(u), 1.0) for u in layer.units])
    steps = (world[1:] - world[0]).T  # columns: one voxel along z, y, x; rows: napari's z, y, x in mm
    to_ras = np.array([[0, 0, -1], [0, -1, 0], [1, 0, 0]], np.float64)
    affine = np.eye(4)
    affine[:3, :3] = to_ras @ steps
    affine[:3, 3] = to_ras @ world[0]
    return affine


def volume_to_save(layer: Layer, labels: Sequence[Label] = ()) -> Volume:
    """A layer's array on the grid of the file its scan came from.

    Raises GeometryError when the layer is not 3D.
    """
    data = np.asarray(layer.data)
    if data.ndim != 3:
        raise GeometryError(f"'{layer.name}' has {data.ndim} axes; only volumes with 3 axes (Z, Y, X) can be saved")
    template = facts_of(layer).get("volume")
    if isinstance(template, Volume) and template.shape == data.shape:
        return template.like(data, tuple(labels))
    return Volume(data, layer_affine(layer), labels=tuple(labels))


def layer_from(data: Any, attributes: Mapping[str, Any], kind: str) -> Layer:
    """A layer of what napari hands to a writer."""
    from napari.layers import Layer

    return Layer.create(data, dict(attributes), kind)
