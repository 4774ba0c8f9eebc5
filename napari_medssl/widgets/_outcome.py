"""The result side of the widget: result layers, their table, undo and redo of runs, export."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, QTimer, Signal

from napari_medssl.errors import GeometryError, MedSSLError
from napari_medssl.labels import Label
from napari_medssl.oneshot.result import Segmentation
from napari_medssl.widgets._export import ask_path, export_steps
from napari_medssl.widgets._history import History
from napari_medssl.widgets._layers import mark, name_organs, organs_of, report_of, volume_to_save
from napari_medssl.widgets._notify import tell, tell_error
from napari_medssl.widgets._results import show_probability, show_result, shown_probability
from napari_medssl.widgets._support import made_for
from napari_medssl.widgets._tape import Tape

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Labels

    from napari_medssl.widgets._panel import SegmentPanel


_SETTLE_MS = 150  # napari draws a layer anew for many reasons; so long after that we look whether its labels changed


class Outcome(QObject):
    """Results of the scans of a viewer.

    Signals: `shown` carries the result layer after a run, undo or redo of runs; `refreshed` comes whenever layer or
    steps that can be undone may be others.
    """

    shown = Signal(object)
    refreshed = Signal()

    def __init__(self, viewer: ViewerModel, panel: SegmentPanel, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._panel = panel
        self._image: Image | None = None
        self._histories: weakref.WeakKeyDictionary[Image, History] = weakref.WeakKeyDictionary()
        self._followed: Labels | None = None
        self._position: object = None
        self._redrawn = QTimer(self)
        self._redrawn.setSingleShot(True)
        self._redrawn.setInterval(_SETTLE_MS)
        self._redrawn.timeout.connect(self._on_redrawn)
        panel.undo_button.clicked.connect(lambda: self.undo())
        panel.redo_button.clicked.connect(lambda: self.redo())
        panel.truth.chosen.connect(lambda _: self.count())
        panel.probability.toggled.connect(self._on_probability)
        viewer.layers.events.removed.connect(self._on_layer_removed)

    @property
    def layer(self) -> Labels | None:
        """The result layer of the scan."""
        return made_for(self._viewer, self._image, "result") if self._image is not None else None

    @property
    def image(self) -> Image | None:
        """The scan."""
        return self._image

    @property
    def present(self) -> Segmentation | None:
        """The result on show as it came; what was done to its layer since is on the tape."""
        return self._history(self._image).present if self._image is not None and self.layer is not None else None

    @property
    def tape(self) -> Tape | None:
        """Edits and strokes of the result on show; None without one, or when its layer is a copy of another."""
        tape = self._history(self._image).tape if self._image is not None else None
        return tape if tape is not None and tape.layer is not None and tape.layer is self.layer else None

    def aim(self, image: Image | None) -> None:
        """Show the results of this scan."""
        self._image = image
        self.refresh()

    def undo_edit(self) -> None:
        """Take back the last edit or brush stroke on the result, as Ctrl-Z on its layer does."""
        if self.layer is not None:
            self.layer.undo()
            self._on_redrawn()

    def redo_edit(self) -> None:
        """Do it again."""
        if self.layer is not None:
            self.layer.redo()
            self._on_redrawn()

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
        self._adopt()
        self._follow(self.layer)
        history = self._history(self._image) if self._image is not None else History()
        self._panel.undo_button.setEnabled(history.can_undo)
        self._panel.redo_button.setEnabled(history.can_redo)
        there = self.layer is not None
        self._panel.export_button.setEnabled(there)
        self._panel.take_button.setEnabled(there)
        self._tell_report()
        self.count()
        self.refreshed.emit()

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
        self._panel.table.tell_known(report_of(layer).get("recognised", {}))
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
        self._tell_report()
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
        self._unfollow()
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
            self._keep(self._history(image), layer)

    def _keep(self, history: History, layer: Labels) -> None:
        history.amend(np.asarray(layer.data), organs_of(layer))
        if history.tape is not None:
            history.tape.detach()

    def _adopt(self) -> None:
        """A result that was there before this widget, which had a dock earlier, is the first of a new history."""
        layer = self.layer
        if layer is None or self._image is None or self._history(self._image).present is not None:
            return
        labels = volume_to_save(layer, organs_of(layer))
        labels = labels.like(labels.data.copy(), labels.labels)
        probability = shown_probability(self._viewer, self._image, labels.labels)
        history = self._history(self._image)
        history.push(Segmentation(labels, probability, report_of(layer)))
        assert history.tape is not None  # something was pushed
        history.tape.attach(layer)

    def _tell_report(self) -> None:
        """Write what was done to the result into its layer's facts, for export and for whoever reads them."""
        tape = self.tape
        if self._image is not None and tape is not None and tape.layer is not None:
            mark(tape.layer, report=self._history(self._image).report())

    def _follow(self, layer: Labels | None) -> None:
        if layer is not self._followed:
            self._unfollow()
            self._followed = layer
            if layer is not None:
                layer.events.set_data.connect(self._look_soon)
                layer.events.paint.connect(self._look_soon)
        self._position = self.tape.position if self.tape is not None else None

    def _unfollow(self) -> None:
        if self._followed is not None:
            self._followed.events.set_data.disconnect(self._look_soon)
            self._followed.events.paint.disconnect(self._look_soon)
        self._followed = None

    def _look_soon(self, event: Any = None) -> None:
        # napari says nothing of an undo or redo (Ctrl-Z) but that the layer is drawn anew, as it is when scrolling.
        if not self._redrawn.isActive():
            self._redrawn.start()

    def _on_redrawn(self) -> None:
        if self.tape is not None and self.tape.position != self._position:
            self.refresh()

    def _show(self, image: Image, result: Segmentation) -> None:
        layer = show_result(self._viewer, image, result, probability=self._panel.probability.isChecked())
        tape = self._history(image).tape
        assert tape is not None  # a result on show is the present one
        tape.attach(layer)
        self.refresh()
        self.shown.emit(layer)

    def _on_probability(self, wanted: bool) -> None:
        image = self._image
        present = self._history(image).present if image is not None else None
        if image is not None and present is not None and self.layer is not None:
            show_probability(self._viewer, image, present, wanted=wanted)

    def _on_layer_removed(self, event: Any) -> None:
        for history in self._histories.values():
            if history.tape is not None and history.tape.layer is event.value:
                self._keep(history, event.value)  # Undo run and Redo run bring it back as it was
        self.refresh()
