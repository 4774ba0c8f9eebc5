"""Support layers: where the user labels slices of a scan."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_medssl.errors import SupportError
from napari_medssl.labels import Label, default_label
from napari_medssl.widgets._absence import describe_absences
from napari_medssl.widgets._layers import (
    colormap,
    features,
    mark,
    name_organs,
    organs_of,
    role_of,
)
from napari_medssl.widgets._scan import Scan, scan_of

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Labels, Layer


def support_for(viewer: ViewerModel, image: Image) -> Labels | None:
    """The support layer of a scan, if there is one."""
    return made_for(viewer, image, "support")


def made_for(viewer: ViewerModel, image: Layer, role: str) -> Labels | None:
    """The layer the plugin made for a scan in this role; the newest one."""
    from napari.layers import Labels

    for layer in reversed(viewer.layers):
        if isinstance(layer, Labels) and role_of(layer) == (role, image.unique_id):
            return layer
    return None


def add_support(viewer: ViewerModel, image: Image, organs: tuple[Label, ...]) -> Labels:
    """Add an empty support layer on the grid of a scan. Raises MedSSLError when the layer is no scan."""
    scan = scan_of(image)
    layer = viewer.add_labels(
        np.zeros(image.data.shape, np.uint8),
        name=f"{image.name} support",
        metadata={},
        colormap=colormap(organs),
        features=features(organs),
        opacity=0.6,
        **transform_of(image),
    )
    mark(layer, role="support", of=image.unique_id, volume=scan.template)
    name_organs(layer, organs)
    layer.selected_label = organs[0].value if organs else 1
    layer.brush_size = max(5, min(image.data.shape[1:]) // 25)
    return layer


def transform_of(layer: Layer) -> dict[str, object]:
    """Arguments that put a new layer exactly where `layer` lies."""
    return {
        "scale": layer.scale,
        "translate": layer.translate,
        "rotate": layer.rotate,
        "shear": layer.shear,
        "affine": layer.affine,
        "units": layer.units,
        "axis_labels": layer.axis_labels,
    }


def labelled_slices(mask: np.ndarray) -> tuple[int, ...]:
    """Slices with a label, ascending."""
    return tuple(int(z) for z in np.flatnonzero(mask.any(axis=(1, 2)))) if mask.size else ()


def describe(layer: Labels | None) -> str:
    """Which slices are labelled, for people."""
    if layer is None:
        return "No support yet: click or paint an organ on one slice."
    slices = labelled_slices(np.asarray(layer.data))
    if not slices:
        return "Nothing labelled yet: click or paint an organ on one slice."
    shown = ", ".join(map(str, slices[:8])) + (" …" if len(slices) > 8 else "")
    absent = describe_absences(layer)
    return f"Labelled slice{'s' if len(slices) > 1 else ''}: {shown}" + (f" · {absent}" if absent else "")


def next_organ(organs: tuple[Label, ...]) -> Label:
    """A new organ with the lowest free value."""
    taken = {label.value for label in organs}
    return default_label(next(v for v in range(1, len(taken) + 2) if v not in taken))


def take_slice(target: Labels, source: Labels, z: int) -> int:
    """Copy slice `z` of a label map into a support layer, to be corrected there. Undo works. Returns labelled voxels.

    Raises SupportError when the grids differ or the slice is empty.
    """
    mask = np.asarray(source.data)
    if mask.shape != target.data.shape:
        raise SupportError(
            f"'{source.name}' has shape {mask.shape}, the scan {target.data.shape}; choose labels made on this scan"
        )
    if not 0 <= z < mask.shape[0] or not mask[z].any():
        raise SupportError(f"'{source.name}' has no label on slice {z}; go to a slice where it shows an organ")
    if mask[z].max() > np.iinfo(target.data.dtype).max:
        raise SupportError(f"'{source.name}' uses labels above {np.iinfo(target.data.dtype).max}; renumber them")
    known = {label.value: label for label in (*organs_of(target), *organs_of(source))}
    present = {int(v) for v in np.unique(mask[z]) if v}
    wanted = {label.value for label in organs_of(target)} | present
    name_organs(target, tuple(known.get(v, default_label(v)) for v in sorted(wanted)))
    y, x = np.nonzero(mask[z] != target.data[z])
    target.data_setitem((np.full_like(y, z), y, x), mask[z][y, x])
    return int(np.count_nonzero(mask[z]))


def check_mask(mask: np.ndarray, scan: Scan, name: str) -> None:
    """Raise SupportError in the GUI thread, before anything starts, for what can be told at once."""
    shape = tuple(scan.data.shape)
    if mask.shape != shape:
        raise SupportError(
            f"'{name}' has shape {mask.shape} but the scan '{scan.name}' has {shape}; "
            "choose labels made on this scan, or remove the layer and label a slice again"
        )
    if not mask.any():
        raise SupportError(
            f"no organ is labelled in '{name}'; click an organ (Click) or paint it (Brush) on one slice, "
            "then press Segment"
        )


def organs_or_default(layer: Labels | None) -> tuple[Label, ...]:
    """The organs of a support layer, or a first one to start with."""
    return (organs_of(layer) if layer is not None else ()) or (default_label(1),)
