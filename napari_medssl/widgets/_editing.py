"""Refining the result by the tools of the toolbox: applied in a thread, taken back by napari's own undo."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QObject

from napari_medssl.edit import Change, Operation, Scope, edit_steps, name_of
from napari_medssl.edit.intensity_window import suggested_window
from napari_medssl.edit.record import record
from napari_medssl.errors import MedSSLError, SettingsError
from napari_medssl.progress import Progress, Steps
from napari_medssl.volume import Volume
from napari_medssl.widgets._layers import organs_of, volume_to_save
from napari_medssl.widgets._notify import tell, tell_error, tell_notes
from napari_medssl.widgets._scan import Scan, scan_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.layers import Labels

    from napari_medssl.widgets._outcome import Outcome
    from napari_medssl.widgets._toolbox import Toolbox

_DOING = "The edit"
_SAMPLE = 64  # slices, rows and columns looked at to propose a window: a fraction of a second, however large the scan


class Editing(QObject):
    """Joins the toolbox with the result of the scan.

    painted: gives the layer the user labels, whose slices are kept as painted. current_slice: gives the slice on show.
    """

    def __init__(
        self,
        toolbox: Toolbox,
        outcome: Outcome,
        *,
        painted: Callable[[], Labels | None],
        current_slice: Callable[[], int],
    ) -> None:
        super().__init__(outcome)
        self._toolbox = toolbox
        self._outcome = outcome
        self._painted = painted
        self._current_slice = current_slice
        toolbox.apply_button.clicked.connect(lambda: self.apply())
        toolbox.undo_button.clicked.connect(lambda: outcome.undo_edit())
        toolbox.redo_button.clicked.connect(lambda: outcome.redo_edit())
        toolbox.wants_window.connect(self._propose_window)
        toolbox.work.running_changed.connect(lambda _: self.refresh())
        outcome.refreshed.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Bring the toolbox in step with the result."""
        layer, tape = self._outcome.layer, self._outcome.tape
        self._toolbox.show_organs(organs_of(layer) if layer is not None else ())
        ready = layer is not None and not self._toolbox.work.running
        self._toolbox.enable(
            ready=ready,
            can_undo=ready and tape is not None and tape.can_undo,
            can_redo=ready and tape is not None and tape.can_redo,
        )

    def apply(self) -> bool:
        """Start the tool on the result. Returns False, with a sentence, when it cannot start."""
        layer = self._outcome.layer
        if layer is None:
            tell("There is no result to refine yet: label one slice and press Segment.")
            return False
        if self._outcome.tape is None:
            tell(f"'{layer.name}' is a copy of the result; remove one of the two layers, then press Apply again.")
            return False
        try:
            operation, scope = self._toolbox.read(), self._scope()
            steps = _edit_of(layer, operation, scope, *self._sources(operation, layer))
        except MedSSLError as error:
            tell_error(error, _DOING)
            return False
        data = layer.data
        return self._toolbox.work.start(
            steps, lambda change: self._finish(layer, data, operation, scope, change), doing=_DOING
        )

    def _scope(self) -> Scope:
        toolbox, z = self._toolbox, self._current_slice()
        painted = self._painted()
        return Scope(
            toolbox.organs,
            (z, z + 1) if toolbox.this_slice else None,
            overwrite=toolbox.overwrite.isChecked(),
            painted=None if painted is None else np.asarray(painted.data),
            change_painted=toolbox.change_painted.isChecked(),
        )

    def _sources(self, operation: Operation, layer: Labels) -> tuple[Scan | None, np.ndarray | None]:
        """What the tool looks at besides the result. Raises MedSSLError when it does not fit."""
        scan = scan_of(self._outcome.image) if operation.needs_image else None
        other = self._toolbox.other.layer if operation.takes_other else None
        if other is None or other is layer:
            return scan, None
        if tuple(other.data.shape) != layer.data.shape:
            raise SettingsError(
                f"'{other.name}' has shape {tuple(other.data.shape)}, the result {layer.data.shape}; "
                "choose labels made on this scan"
            )
        return scan, np.asarray(other.data)

    def _finish(self, layer: Labels, data: np.ndarray, operation: Operation, scope: Scope, change: Change) -> None:
        tape = self._outcome.tape
        if tape is None or tape.layer is not layer or layer.data is not data:
            tell("The result was replaced while the tool worked on it, so nothing was changed; press Apply again.")
            return
        tell_notes(change.notes)
        # What was painted meanwhile stays: only voxels that are as the tool saw them are changed.
        z, y, x = change.zyx()
        still = data[z, y, x] == change.before
        change = dataclasses.replace(
            change, index=change.index[still], before=change.before[still], after=change.after[still]
        )
        if not len(change):
            kept = scope.painted is not None and not scope.change_painted
            reason = " Slices you painted are kept; 'May change painted slices' lets them change." if kept else ""
            tell(f"{operation.title} has nothing to change here.{reason}")
            return
        layer.data_setitem(change.zyx(), change.after)
        tape.note(record(operation, scope, change))
        self._outcome.refresh()

    def _propose_window(self) -> None:
        """The intensities the chosen organs have, from a regular sample of the scan."""
        layer, image = self._outcome.layer, self._outcome.image
        if layer is None or image is None or image.data.shape != layer.data.shape:
            return
        z, y, x = (slice(None, None, max(1, n // (2 * _SAMPLE))) for n in layer.data.shape)
        mask = np.isin(np.asarray(layer.data[z, y, x]), self._toolbox.organs)
        self._toolbox.propose(suggested_window(np.asarray(image.data[z, y, x]), mask))


def _edit_of(
    layer: Labels, operation: Operation, scope: Scope, scan: Scan | None, other: np.ndarray | None
) -> Callable[[], Steps[Change]]:
    """The work of an edit, to be made in its thread; what it needs of the layer is taken now."""
    shown: Volume = volume_to_save(layer, organs_of(layer))

    def steps() -> Steps[Change]:
        yield Progress(0, 1, f"preparing to {name_of(operation)}")
        labels = shown.like(shown.data.copy(), shown.labels)  # the brush may go on meanwhile
        image = None if scan is None else scan.volume().data
        return (yield from edit_steps(labels, operation, scope=scope, image=image, other=other))

    return steps
