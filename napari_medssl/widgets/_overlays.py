"""What the features show, as layers in the place of their scan: made once, then filled anew, never over a user's."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_medssl.labels import Label
from napari_medssl.volume import Affine
from napari_medssl.widgets._layers import KEY, facts_of, name_organs, role_of
from napari_medssl.widgets._support import transform_of

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Labels, Layer

    from napari_medssl.widgets._features import Features

COLOURS, COMPONENT, SIMILAR = "feature colours", "feature component", "similarity"
REGIONS, BOUNDARIES, SELECTION, ALIKE = "feature regions", "feature boundaries", "feature selection", "similar voxels"
PROBES, CURSOR, LANDMARKS = "probes", "linked cursor", "landmarks"
_FIELDS = {COLOURS, COMPONENT, SIMILAR, REGIONS, BOUNDARIES, SELECTION, ALIKE}  # cover the scan
_STRAIGHT = 1e-4  # of a cell: rounding of affines in files


def cells_place(features: Features) -> dict[str, Any]:
    """Layer arguments that put an array over the cells of a grid exactly where they lie in the scan's layer.

    Scale and translation when the cells lie along the voxels, as they do for every scan extracted here; else an
    affine, which napari shows in 3D and, along the nearest axes, in 2D.
    """
    cells = np.linalg.solve(features.affine, features.grid.affine)  # cell index to voxel index
    total = world_matrix(features.image) @ cells
    steps = np.diag(total[:3, :3])
    rest = total[:3, :3] - np.diag(steps)
    common = {"units": features.image.units, "axis_labels": features.image.axis_labels}
    if np.abs(rest).max() <= _STRAIGHT * np.abs(steps).min() and (steps > 0).all():
        return {"scale": tuple(steps), "translate": tuple(total[:3, 3]), **common}
    return {"affine": total, **common}


def voxels_place(features: Features) -> dict[str, Any]:
    """Layer arguments that put an array over the voxels of the scan."""
    return transform_of(features.image)


def world_matrix(layer: Layer) -> Affine:
    """(4, 4) data index to world of a layer of three axes."""
    corners = np.vstack([np.zeros(3), np.eye(3)])
    world = np.array([layer.data_to_world(c) for c in corners], np.float64)
    matrix = np.eye(4)
    matrix[:3, :3] = (world[1:] - world[0]).T
    matrix[:3, 3] = world[0]
    return matrix


def find_overlay(viewer: ViewerModel, features: Features, role: str, what: str = "") -> Layer | None:
    """The layer made for a scan in this role, the newest one; `what` tells apart several of one role."""
    for layer in reversed(viewer.layers):
        if role_of(layer) == (role, features.image.unique_id) and facts_of(layer).get("what", "") == what:
            return layer
    return None


def put_image(
    viewer: ViewerModel,
    features: Features,
    role: str,
    data: npt.NDArray[Any],
    *,
    name: str,
    report: dict[str, Any],
    what: str = "",
    **look: Any,
) -> Image:
    """Show a field of the cells, (Z, Y, X) or with colours (Z, Y, X, 3 or 4), in the layer of its role.

    look: arguments of a new layer; one that is there keeps the look the user gave it.
    """
    from napari.layers import Image

    layer = find_overlay(viewer, features, role, what)
    if isinstance(layer, Image) and layer.data.shape == data.shape:
        layer.data = data
        layer.name = name
        facts_of(layer).update(report=report)
        return layer
    if layer is not None:
        viewer.layers.remove(layer)
    # Its role from the start: a layer without one would be taken for a scan by whoever lists scans.
    facts = {"role": role, "of": features.image.unique_id, "what": what, "report": report}
    smooth = {"interpolation2d": "linear", "interpolation3d": "linear"}
    made = Image(data, name=name, metadata={KEY: facts}, **(smooth | cells_place(features) | look))
    _insert(viewer, features, made)
    return made


def put_labels(
    viewer: ViewerModel,
    features: Features,
    role: str,
    data: npt.NDArray[Any],
    *,
    name: str,
    report: dict[str, Any],
    what: str = "",
    named: tuple[Label, ...] = (),
) -> Labels:
    """Show labels of the scan's voxels in the layer of its role; what the user painted in it stays in a layer of its
    own.

    named: what the labels are called, and their colours.
    """
    from napari.layers import Labels

    layer = find_overlay(viewer, features, role, what)
    if isinstance(layer, Labels) and _untouched(layer) and layer.data.shape == data.shape:
        layer.data = data
        layer.name = name
        facts_of(layer).update(report=report, check=_check(data))
        if named:
            name_organs(layer, named)
        return layer
    if layer is not None:
        facts_of(layer)["role"] = ""  # painted on: it is the user's now
    facts = {
        "role": role, "of": features.image.unique_id, "what": what, "report": report, "check": _check(data),
        "volume": features.volume,
    }  # fmt: skip
    made = Labels(data, name=name, metadata={KEY: facts}, opacity=0.5, **voxels_place(features))
    if named:
        name_organs(made, named)
    _insert(viewer, features, made, top=True)
    return made


def remove_overlays(viewer: ViewerModel, image: Layer) -> None:
    """Take away what was drawn for a scan that is gone; Labels stay, they may be what the user wanted."""
    from napari.layers import Labels

    roles = {COLOURS, COMPONENT, SIMILAR, BOUNDARIES, PROBES, CURSOR}
    for layer in [x for x in viewer.layers if not isinstance(x, Labels)]:
        role, of = role_of(layer)
        if of == image.unique_id and role in roles and layer in viewer.layers:
            viewer.layers.remove(layer)


def show_alone(viewer: ViewerModel, features: Features, layer: Layer) -> None:
    """Show an overlay of a scan and hide the others of that scan: on top of each other they tell nothing."""
    for other in viewer.layers:
        role, of = role_of(other)
        if of == features.image.unique_id and role in _FIELDS and other is not layer:
            other.visible = False
    layer.visible = bool(features.image.visible)  # what belongs to a hidden scan would lie over another one


def show_bar(layer: Image) -> None:
    """A colour bar on the canvas."""
    layer.colorbar.visible = True


def _untouched(layer: Labels) -> bool:
    return facts_of(layer).get("check") == _check(np.asarray(layer.data))


def _check(data: npt.NDArray[Any]) -> int:
    return zlib.crc32(np.ascontiguousarray(data).data)


def _insert(viewer: ViewerModel, features: Features, layer: Layer, *, top: bool = False) -> None:
    """Images directly over the scan and what lies over it already, others on top; the active layer stays active."""
    from napari.layers import Image

    active = viewer.layers.selection.active
    scan = features.image
    place = len(viewer.layers)
    if not top and scan in viewer.layers:
        mine = [x for x in viewer.layers if isinstance(x, Image) and (x is scan or role_of(x)[1] == scan.unique_id)]
        place = max(viewer.layers.index(x) for x in mine) + 1
    layer.visible = bool(scan.visible)
    viewer.layers.insert(place, layer)
    if active in viewer.layers:
        viewer.layers.selection.active = active
