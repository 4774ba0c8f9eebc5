"""Places picked on the canvas with the mouse: a click, with Shift one more, with Ctrl one that shall not be."""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from napari_medssl.widgets._notify import tell

if TYPE_CHECKING:
    from napari.components import ViewerModel

REPLACE, ADD, AGAINST = "replace", "add", "against"
_DRAG_PX = 4.0  # a hand never holds a mouse quite still


class Picker(QObject):
    """Signals, while on: `picked` with a position in the viewer's world and what it is for; `hovered` with the
    position under the mouse, when it is followed."""

    picked = Signal(tuple, str)
    hovered = Signal(tuple)

    def __init__(self, viewer: ViewerModel, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self.on = self.following = False

    def switch(self, on: bool) -> None:
        """Start or stop listening to clicks."""
        if on != self.on:
            self.on = on
            listen(self._viewer.mouse_drag_callbacks, self._on_mouse, on)

    def follow(self, on: bool) -> None:
        """Start or stop following the mouse."""
        if on != self.following:
            self.following = on
            listen(self._viewer.mouse_move_callbacks, self._on_move, on)

    def stop(self) -> None:
        """Stop listening; touches no Qt."""
        self.switch(False)
        self.follow(False)

    def _on_mouse(self, viewer: ViewerModel, event: Any) -> Generator[None, None, None]:
        start, position = event.pos, tuple(event.position)
        # The window's keys equal their names, but their text is another: `in` compares.
        against = event.button == 2 or "Control" in event.modifiers
        more = "Shift" in event.modifiers
        dragged = False
        yield
        while event.type == "mouse_move":
            dragged = dragged or math.dist(event.pos, start) > _DRAG_PX
            yield
        if dragged:
            return
        if viewer.dims.ndisplay != 2:
            tell("Places can be picked in the 2D view; what they show is seen in 3D, too.")
            return
        self.picked.emit(position, AGAINST if against else ADD if more else REPLACE)

    def _on_move(self, viewer: ViewerModel, event: Any) -> None:
        if viewer.dims.ndisplay == 2:
            self.hovered.emit(tuple(event.position))


def listen(callbacks: list[Any], callback: Any, on: bool) -> None:
    """Add a callback to a viewer's list, or take it out, where that changes anything."""
    if on and callback not in callbacks:
        callbacks.append(callback)
    elif not on and callback in callbacks:
        callbacks.remove(callback)
