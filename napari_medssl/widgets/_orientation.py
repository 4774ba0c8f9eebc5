"""The letters L R A P S I at the edges of the canvas, and the head at the top where the body stands upright."""

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
    """Show the letters in a viewer from now on; does nothing when they are there already.

    Whenever the axes are rolled so that the head would be at the bottom (coronal and sagittal views of an axial scan),
    the picture is turned upright; it is turned back for the other views. A camera the user flips stays as it is.
    """
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

    turned = _Upright()

    def turn(event: object = None) -> None:
        alive = held()
        if alive is not None:
            turned.turn(alive)

    viewer.dims.events.order.connect(turn)
    viewer.dims.events.ndisplay.connect(turn)
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


class _Upright:
    """Turns the head to the top, and takes back no other turn than its own."""

    def __init__(self) -> None:
        self._mine = False

    def turn(self, viewer: ViewerModel) -> None:
        camera = viewer.scene.camera
        if self._mine and str(camera.orientation2d[0]) == "up":
            camera.orientation2d = ("down", camera.orientation2d[1])
        volume, shown = _reference(viewer), _shown_axes(viewer)
        head_below = volume is not None and shown is not None and edge_letters(volume, shown)["bottom"] == "S"
        self._mine = head_below and str(camera.orientation2d[0]) == "down"
        if self._mine:
            camera.orientation2d = ("up", camera.orientation2d[1])


def _shown_axes(viewer: ViewerModel) -> tuple[int, int] | None:
    """The volume's axes along the picture's rows and columns; None in 3D and for other axes than Z, Y, X."""
    offset = viewer.dims.ndim - 3
    shown = tuple(axis - offset for axis in viewer.dims.displayed)
    return (shown[0], shown[1]) if viewer.dims.ndisplay == 2 and min(shown) >= 0 else None


def _update(viewer: ViewerModel) -> None:
    volume = _reference(viewer)
    shown = _shown_axes(viewer)
    overlays = viewer.canvas.overlays
    if volume is None or shown is None:
        for edge in EDGES:
            overlays[f"medssl_{edge}"].visible = False
        return
    vertical, horizontal = viewer.scene.camera.orientation2d
    letters = edge_letters(volume, shown, down=str(vertical) == "down", right=str(horizontal) == "right")
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
