"""The labelling side of the widget: the support layer, its organs and the tools that change it."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, QTimer, Signal

from napari_medssl.errors import MedSSLError
from napari_medssl.labels import Label
from napari_medssl.widgets._layers import name_organs, organs_of
from napari_medssl.widgets._notify import tell_error
from napari_medssl.widgets._scan import scan_of
from napari_medssl.widgets._support import add_support, describe, organs_or_default, support_for, take_slice

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Labels

    from napari_medssl.widgets._panel import SegmentPanel

SETTLE_MS = 500
"""A pause in painting this long ends an edit."""
REDRAWN_MS = 100
"""So long after the support layer is painted or drawn anew, we look whether and where it is labelled."""


class Labelling(QObject):
    """Keeps organ list, tools and support layer of the chosen scan in step.

    Signals: `edited` after a pause in painting, `organs_changed` with the organs after renaming, colouring, adding or
    removing.
    """

    edited = Signal()
    organs_changed = Signal(tuple)

    def __init__(self, viewer: ViewerModel, panel: SegmentPanel, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._panel = panel
        self._image: Image | None = None
        self._followed: Labels | None = None
        self._mark: object = None
        self._settled = QTimer(self)
        self._settled.setSingleShot(True)
        self._settled.setInterval(SETTLE_MS)
        self._settled.timeout.connect(self._on_settled)
        self._redrawn = QTimer(self)
        self._redrawn.setSingleShot(True)
        self._redrawn.setInterval(REDRAWN_MS)
        self._redrawn.timeout.connect(self._on_redrawn)
        panel.organs.changed.connect(self._on_organs)
        panel.organs.selected.connect(self._on_selected)
        panel.organs.removed.connect(self._on_organ_removed)
        panel.tools.wanted.connect(self.make_support)
        viewer.layers.events.removed.connect(self._on_layer_removed)

    @property
    def support(self) -> Labels | None:
        """The support layer of the scan."""
        return support_for(self._viewer, self._image) if self._image is not None else None

    def aim(self, image: Image | None) -> None:
        """Work on this scan."""
        self._image = image
        self._follow(self.support)

    def make_support(self) -> Labels | None:
        """The support layer of the scan, added when there is none; None, with a sentence, when that cannot be."""
        layer = self.support
        if layer is None:
            try:
                scan_of(self._image)
            except MedSSLError as error:
                tell_error(error, "Making the support layer")
                return None
            assert self._image is not None  # scan_of has refused a missing scan
            layer = add_support(self._viewer, self._image, self._panel.organs.organs)
        self._follow(layer)
        return layer

    def take(self, source: Labels, z: int) -> bool:
        """Copy slice `z` of a label map into the support layer and take the brush."""
        support = self.make_support()
        if support is None:
            return False
        try:
            take_slice(support, source, z)
        except MedSSLError as error:
            tell_error(error, "Copying the slice")
            return False
        self._panel.organs.show_organs(organs_of(support), support.selected_label)
        self._panel.tools.choose("brush")
        return True

    def detach(self) -> None:
        """Stop listening to viewer and layers; touches no Qt, so it may come after the widget's end."""
        self._unfollow()
        self._viewer.layers.events.removed.disconnect(self._on_layer_removed)

    def _follow(self, support: Labels | None) -> None:
        if support is not self._followed:
            self._unfollow()
            self._followed = support
            self._mark = self._look()
            if support is not None:
                support.events.paint.connect(self._on_painted)
                support.events.set_data.connect(self._look_soon)
                support.events.selected_label.connect(self._on_layer_label)
        if support is not None or not self._panel.organs.organs:
            # Without a support layer the list stays: the next scan starts with the organs of the last.
            self._panel.organs.show_organs(organs_or_default(support), support.selected_label if support else None)
        self._panel.tools.aim(self._image, support)
        self._panel.support_text.setText(describe(support))

    def _unfollow(self) -> None:
        if self._followed is not None:
            self._followed.events.paint.disconnect(self._on_painted)
            self._followed.events.set_data.disconnect(self._look_soon)
            self._followed.events.selected_label.disconnect(self._on_layer_label)

    def _look(self) -> object:
        """What the labels are now, in a number: changes with them and costs no copy."""
        return None if self._followed is None else zlib.crc32(np.ascontiguousarray(self._followed.data).data)

    def _on_organs(self, organs: tuple[Label, ...]) -> None:
        if self._followed is not None:
            name_organs(self._followed, organs)
        self.organs_changed.emit(organs)

    def _on_selected(self, value: int) -> None:
        if self._followed is not None:
            self._followed.selected_label = value

    def _on_layer_label(self, event: Any = None) -> None:
        if self._followed is not None:
            self._panel.organs.select(int(self._followed.selected_label))

    def _on_organ_removed(self, value: int) -> None:
        if self._followed is not None:
            self._followed.data_setitem(np.nonzero(np.asarray(self._followed.data) == value), 0)

    def _on_painted(self, event: Any = None) -> None:
        # napari sends this before it writes the voxels, so what they are now is looked at in a moment.
        self._look_soon()
        self._settled.start()

    def _look_soon(self, event: Any = None) -> None:
        # napari says nothing of an undo or redo (Ctrl-Z) but that the layer is drawn anew, as it is when scrolling.
        if not self._redrawn.isActive():
            self._redrawn.start()

    def _on_redrawn(self) -> None:
        if self._look() != self._mark:
            self._panel.support_text.setText(describe(self.support))
            self._settled.start()

    def _on_settled(self) -> None:
        self._mark = self._look()
        self._panel.support_text.setText(describe(self.support))
        self.edited.emit()

    def _on_layer_removed(self, event: Any) -> None:
        if event.value is self._followed:
            self._follow(self.support)
