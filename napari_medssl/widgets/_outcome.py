"""The result side of the widget: result layers, their table, undo and redo of runs, export."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, Signal

from napari_medssl.errors import GeometryError, MedSSLError
from napari_medssl.labels import Label
from napari_medssl.oneshot.result import Segmentation
from napari_medssl.widgets._export import ask_path, export_steps
from napari_medssl.widgets._history import History
from napari_medssl.widgets._layers import name_organs, organs_of, report_of, volume_to_save
from napari_medssl.widgets._notify import tell, tell_error
from napari_medssl.widgets._results import show_probability, show_result
from napari_medssl.widgets._support import made_for

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Labels

    from napari_medssl.widgets._panel import SegmentPanel


class Outcome(QObject):
    """Results of the scans of a viewer. Signal `shown` carries the result layer after a run, undo or redo."""

    shown = Signal(object)

    def __init__(self, viewer: ViewerModel, panel: SegmentPanel, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._panel = panel
        self._image: Image | None = None
        self._histories: weakref.WeakKeyDictionary[Image, History] = weakref.WeakKeyDictionary()
        panel.undo_button.clicked.connect(lambda: self.undo())
        panel.redo_button.clicked.connect(lambda: self.redo())
        panel.truth.chosen.connect(lambda _: self.count())
        panel.probability.toggled.connect(self._on_probability)
        viewer.layers.events.removed.connect(self._on_layer_removed)

    @property
    def layer(self) -> Labels | None:
        """The result layer of the scan."""
        return made_for(self._viewer, self._image, "result") if self._image is not None else None

    def aim(self, image: Image | None) -> None:
        """Show the results of this scan."""
        self._image = image
        self.refresh()

    def add(self, image: Image, result: Segmentation) -> None:
        """Show a new result. What the user painted into the last one can be had back with undo."""
        self._keep_edits(image)
        self._history(image).push(result)
        self._show(image, result)

    def undo(self) -> None:
        """Show the result before this one."""
        if self._image is not None and self._history(self._image).can_undo:
            self._keep_edits(self._image)
            self._show(self._image, self._history(self._image).undo())

    def redo(self) -> None:
        """Show the result after this one."""
        if self._image is not None and self._history(self._image).can_redo:
            self._keep_edits(self._image)
            self._show(self._image, self._history(self._image).redo())

    def refresh(self) -> None:
        """Bring buttons and table in step with the layers."""
        history = self._history(self._image) if self._image is not None else History()
        self._panel.undo_button.setEnabled(history.can_undo)
        self._panel.redo_button.setEnabled(history.can_redo)
        there = self.layer is not None
        self._panel.export_button.setEnabled(there)
        self._panel.take_button.setEnabled(there)
        self.count()

    def count(self) -> None:
        """Fill the table from the result layer as it is now, hand-made edits included."""
        layer = self.layer
        if layer is None:
            self._panel.table.stop()
            self._panel.table.show_rows(())
            return
        data = np.asarray(layer.data)
        try:
            volume = volume_to_save(layer)
            truth = self._truth(data.shape)
        except MedSSLError as error:
            tell_error(error, "Comparing with the truth")
            self._panel.truth.choose(None)
            return
        self._panel.table.count(data, organs_of(layer), volume.voxel_ml, truth)

    def name_organs(self, organs: tuple[Label, ...]) -> None:
        """Give the shown result the names and colours of the organ list."""
        layer = self.layer
        if layer is None:
            return
        listed = {label.value: label for label in organs}
        name_organs(layer, tuple(listed.get(old.value, old) for old in organs_of(layer)))
        self.count()

    def export(self, path: Path | None = None) -> bool:
        """Write the result layer; asks for the path when none is given. Returns whether writing began."""
        layer = self.layer
        if layer is None:
            tell("There is nothing to export yet: press Segment first.")
            return False
        target = path or ask_path(self._panel, f"{layer.name}.nii.gz")
        if target is None:
            return False
        volume, report = volume_to_save(layer, organs_of(layer)), report_of(layer)
        started = self._panel.work.start(
            lambda: export_steps(target, volume, report), lambda done: tell(f"Saved {done}"), doing="The export"
        )
        if not started:
            tell("A segmentation is running; export when it has ended.")
        return started

    def detach(self) -> None:
        """Stop counting and listening; touches no Qt, so it may come after the widget's end."""
        self._panel.table.stop()
        self._viewer.layers.events.removed.disconnect(self._on_layer_removed)

    def _truth(self, shape: tuple[int, ...]) -> np.ndarray | None:
        layer = self._panel.truth.layer
        if layer is None:
            return None
        truth = np.asarray(layer.data)
        if truth.shape != shape:
            raise GeometryError(
                f"'{layer.name}' has shape {truth.shape}, the result {shape}; choose labels made on this scan"
            )
        return truth

    def _history(self, image: Image) -> History:
        return self._histories.setdefault(image, History())

    def _keep_edits(self, image: Image) -> None:
        layer = made_for(self._viewer, image, "result")
        if layer is not None:
            self._history(image).amend(np.asarray(layer.data), organs_of(layer))

    def _show(self, image: Image, result: Segmentation) -> None:
        layer = show_result(self._viewer, image, result, probability=self._panel.probability.isChecked())
        self.refresh()
        self.shown.emit(layer)

    def _on_probability(self, wanted: bool) -> None:
        image = self._image
        present = self._history(image).present if image is not None else None
        if image is not None and present is not None and self.layer is not None:
            show_probability(self._viewer, image, present, wanted=wanted)

    def _on_layer_removed(self, event: Any) -> None:
        self.refresh()
