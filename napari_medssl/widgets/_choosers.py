"""A box to choose one layer of a viewer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QWidget

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer


class LayerChooser(QComboBox):
    """The layers of a viewer that `fits` accepts; follows additions, removals and renaming.

    none: text of a first entry that means no layer; without it the newest fitting layer is chosen by itself.
    Signal `chosen` carries the layer or None, only when it really changed.
    """

    chosen = Signal(object)

    def __init__(
        self, viewer: ViewerModel, fits: Callable[[Layer], bool], *, none: str = "", parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._fits = fits
        self._none = none
        self._last: Layer | None = None
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(12)
        viewer.layers.events.inserted.connect(self._on_inserted)
        viewer.layers.events.removed.connect(self.refresh)
        viewer.layers.events.reordered.connect(self.refresh)
        self.currentIndexChanged.connect(self._announce)
        for layer in viewer.layers:
            layer.events.name.connect(self.refresh)
        self.refresh()

    @property
    def layer(self) -> Layer | None:
        """The chosen layer."""
        chosen: Layer | None = self.currentData()
        return chosen

    def choose(self, layer: Layer | None) -> None:
        """Choose a layer (or none, where that is offered)."""
        for row in range(self.count()):
            if self.itemData(row) is layer:
                self.setCurrentIndex(row)

    def refresh(self, event: Any = None) -> None:
        """List the layers again, keeping the choice where it is still there."""
        wanted = self._last
        blocked = self.blockSignals(True)
        self.clear()
        if self._none:
            self.addItem(self._none, None)
        for layer in self._viewer.layers:
            if self._fits(layer):
                self.addItem(layer.name, layer)
        rows = [row for row in range(self.count()) if self.itemData(row) is wanted]
        fallback = 0 if self._none else self.count() - 1
        self.setCurrentIndex(rows[0] if rows else fallback)
        self.blockSignals(blocked)
        self._announce()

    def detach(self) -> None:
        """Stop listening to the viewer; touches no Qt, so it may come after the widget's end."""
        self._viewer.layers.events.inserted.disconnect(self._on_inserted)
        self._viewer.layers.events.removed.disconnect(self.refresh)
        self._viewer.layers.events.reordered.disconnect(self.refresh)
        for layer in self._viewer.layers:
            layer.events.name.disconnect(self.refresh)

    def _on_inserted(self, event: Any) -> None:
        event.value.events.name.connect(self.refresh)
        self.refresh()

    def _announce(self, *_: Any) -> None:
        if self.layer is not self._last:
            self._last = self.layer
            self.chosen.emit(self._last)
