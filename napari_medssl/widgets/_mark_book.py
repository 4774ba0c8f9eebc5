"""The marks of all scans of a viewer: read from their layers, changed, undone and done again."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from napari_medssl.widgets._slice_marks import (
    Marked,
    adopt,
    is_saved_marks,
    marks_layer,
    read_marks,
    write_marks,
)

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image

_KEPT = 200  # changes that can be undone


@dataclass(frozen=True)
class _Change:
    """What was marked on a scan before and after, and the classes at that time."""

    image: weakref.ref[Image]
    before: Marked
    after: Marked
    text: str


class MarkBook(QObject):
    """Marks live in Points layers; this changes them so that every change can be taken back.

    Signal `changed`: marks of some scan are others now, by whatever hand.
    """

    changed = Signal()

    def __init__(self, viewer: ViewerModel, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._done: list[_Change] = []
        self._undone: list[_Change] = []
        self._quiet = False
        self._followed: list[Any] = []

    def of(self, image: Image | None) -> Marked:
        """Slice to the classes marked on it."""
        if image is None:
            return {}
        layer = marks_layer(self._viewer, image)
        self._follow(layer)
        return read_marks(layer, int(image.data.shape[0]))

    def has_layer(self, image: Image) -> bool:
        """Whether a scan has a layer of marks, perhaps an empty one."""
        return marks_layer(self._viewer, image) is not None

    def change(self, image: Image, after: Mapping[int, Sequence[str]], classes: Sequence[str], *, text: str) -> None:
        """Give a scan other marks; nothing happens when they are the same."""
        before, wanted = self.of(image), {z: tuple(names) for z, names in after.items()}
        if before == wanted:
            return
        self._done = [*self._done[1 - _KEPT :], _Change(weakref.ref(image), before, wanted, text)]
        self._undone.clear()
        self._write(image, wanted, classes)

    def undo(self, classes: Sequence[str]) -> str:
        """Take the last change back; what it was, or empty when there is none."""
        return self._step(self._done, self._undone, classes, back=True)

    def redo(self, classes: Sequence[str]) -> str:
        """Do the last change that was taken back again."""
        return self._step(self._undone, self._done, classes, back=False)

    @property
    def can_undo(self) -> bool:
        """Whether there is a change to take back."""
        return any(c.image() in self._viewer.layers for c in self._done)

    @property
    def can_redo(self) -> bool:
        """Whether there is a change to do again."""
        return any(c.image() in self._viewer.layers for c in self._undone)

    def rename(self, images: Sequence[Image], old: str, new: str, classes: Sequence[str]) -> None:
        """Call a class otherwise in all marks, those that can be undone included."""

        def renamed(marked: Marked) -> Marked:
            return {z: tuple(new if n == old else n for n in names) for z, names in marked.items()}

        for stack in (self._done, self._undone):
            stack[:] = [_Change(c.image, renamed(c.before), renamed(c.after), c.text) for c in stack]
        for image in images:
            self._write(image, renamed(self.of(image)), classes)

    def repaint(self, images: Sequence[Image], classes: Sequence[str]) -> None:
        """Draw all marks again, as when the classes have other colours."""
        for image in images:
            self._write(image, self.of(image), classes)

    def adopt_saved(self, image: Image) -> Marked:
        """Take over a layer of saved marks for a scan that has none; what they say, empty without such a layer."""
        if marks_layer(self._viewer, image) is not None:
            return {}
        for layer in reversed(self._viewer.layers):
            if is_saved_marks(layer):
                adopt(layer, image)
                return self.of(image)
        return {}

    def detach(self) -> None:
        """Stop listening to layers; touches no Qt of our own."""
        for layer in self._followed:
            layer.events.features.disconnect(self._on_features)
        self._followed.clear()

    def _step(self, source: list[_Change], target: list[_Change], classes: Sequence[str], *, back: bool) -> str:
        while source:
            change = source.pop()
            image = change.image()
            if image is not None and image in self._viewer.layers:
                target.append(change)
                self._write(image, change.before if back else change.after, classes)
                return change.text
        return ""

    def _write(self, image: Image, marked: Marked, classes: Sequence[str]) -> None:
        self._quiet = True
        try:
            write_marks(self._viewer, image, marked, classes)
        finally:
            self._quiet = False
        self.changed.emit()

    def _follow(self, layer: Any) -> None:
        """Notice points that the user deletes in the layer itself."""
        if layer is not None and layer not in self._followed:
            self._followed.append(layer)
            layer.events.features.connect(self._on_features)

    def _on_features(self, event: Any = None) -> None:
        if not self._quiet:
            self.changed.emit()
