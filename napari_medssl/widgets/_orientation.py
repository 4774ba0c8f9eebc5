"""The letters L R A P S I at the edges of the canvas."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from napari_medssl.geometry import axis_ends
from napari_medssl.volume import Volume
from napari_medssl.widgets._layers import KEY

if TYPE_CHECKING:
    from napari.components import ViewerModel

EDGES = {"left": "middle_left", "right": "middle_right", "top": "top_center", "bottom": "bottom_center"}
_attached: weakref.WeakSet[Any] = weakref.WeakSet()


def edge_letters(
    volume: Volume, displayed: tuple[int, int], *, down: bool = True, right: bool = True
) -> dict[str, str]:
    """Which side of the patient lies at each edge of the picture.

    displayed: the volume's axes shown along the picture's rows (downwards) and columns (to the right).
    down, right: whether indices grow that way on the screen (the camera can be turned round).
    """
    ends = axis_ends(volume)
    rows, columns = ends[displayed[0]], ends[displayed[1]]
    top, bottom = rows if down else rows[::-1]
    left, right_letter = columns if right else columns[::-1]
    return {"left": left, "right": right_letter, "top": top, "bottom": bottom}


def show_orientation(viewer: ViewerModel) -> None:
    """Show the letters in a viewer from now on; does nothing when they are there already."""
    from napari.components.overlays import TextOverlay

    if viewer in _attached:
        return
    _attached.add(viewer)
    for edge, position in EDGES.items():
        viewer.canvas.overlays[f"medssl_{edge}"] = TextOverlay(
            position=position, font_size=16, color="#ffd24d", box=False, visible=False
        )
    # The callback holds the viewer weakly: events must not keep a closed viewer alive.
    held = weakref.ref(viewer)

    def update(event: object = None) -> None:
        alive = held()
        if alive is not None:
            _update(alive)

    for emitter in (
        viewer.dims.events.order,
        viewer.dims.events.ndisplay,
        viewer.dims.events.ndim,
        viewer.layers.events.inserted,
        viewer.layers.events.removed,
        viewer.layers.events.reordered,
        viewer.layers.selection.events.active,
        viewer.scene.camera.events.orientation,
    ):
        emitter.connect(update)
    update()


def _update(viewer: ViewerModel) -> None:
    volume = _reference(viewer)
    offset = viewer.dims.ndim - 3
    shown = tuple(axis - offset for axis in viewer.dims.displayed)
    overlays = viewer.canvas.overlays
    if volume is None or viewer.dims.ndisplay != 2 or min(shown) < 0:
        for edge in EDGES:
            overlays[f"medssl_{edge}"].visible = False
        return
    vertical, horizontal = viewer.scene.camera.orientation2d
    letters = edge_letters(volume, (shown[0], shown[1]), down=str(vertical) == "down", right=str(horizontal) == "right")
    for edge, letter in letters.items():
        overlay = overlays[f"medssl_{edge}"]
        overlay.text = letter
        overlay.visible = True


def _reference(viewer: ViewerModel) -> Volume | None:
    """The volume whose directions count: the active layer's, else that of the topmost layer that has one."""
    active = viewer.layers.selection.active
    for layer in (active, *reversed(viewer.layers)):
        volume = layer.metadata.get(KEY, {}).get("volume") if layer is not None else None
        if isinstance(volume, Volume):
            return volume
    return None
