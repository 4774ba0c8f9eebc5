"""Strokes painted over a result: what of it is certain from then on, and the result that heeds them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, QTimer

from napari_medssl.errors import MedSSLError
from napari_medssl.oneshot.result import Segmentation
from napari_medssl.oneshot.scribbles import correct_steps
from napari_medssl.oneshot.stroke import Stroke
from napari_medssl.oneshot.support import Support
from napari_medssl.progress import Steps
from napari_medssl.volume import Volume
from napari_medssl.widgets._absence import absences_of
from napari_medssl.widgets._labelling import SETTLE_MS
from napari_medssl.widgets._notify import tell, tell_error
from napari_medssl.widgets._scan import Scan, scan_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from napari.layers import Image, Labels

    from napari_medssl.widgets._outcome import Outcome
    from napari_medssl.widgets._panel import SegmentPanel

_DOING = "The correction"


class Corrections(QObject):
    """Joins brush strokes on the result layer with the result.

    A voxel painted or wiped there by hand is certain: it spreads into its neighbourhood at once (`apply`), and later
    runs keep it (`strokes`). Tools of the toolbox are no strokes. With "Update while I paint" a pause applies them.

    support: gives the layer the user labels. settings: gives those of the form.
    """

    def __init__(
        self,
        panel: SegmentPanel,
        outcome: Outcome,
        *,
        support: Callable[[], Labels | None],
        settings: Callable[[], Any],
    ) -> None:
        super().__init__(outcome)
        self._panel, self._outcome = panel, outcome
        self._support, self._settings = support, settings
        self._followed: Labels | None = None
        self._settled = QTimer(self)
        self._settled.setSingleShot(True)
        self._settled.setInterval(SETTLE_MS)
        self._settled.timeout.connect(self._on_settled)
        panel.spread_button.clicked.connect(lambda: self.apply())
        outcome.refreshed.connect(self._follow)
        self._follow()

    def pending(self) -> Stroke | None:
        """What was painted on the result since it came, as it is now; None when nothing was."""
        layer, tape = self._outcome.layer, self._outcome.tape
        if layer is None or tape is None:
            return None
        at = tape.painted_at()
        return Stroke(at, np.asarray(layer.data)[tuple(at.T)]) if len(at) else None

    def strokes(self) -> tuple[Stroke, ...]:
        """All that is certain of the result on show, for the next run."""
        present = self._outcome.present
        known = present.strokes if present is not None and self._outcome.layer is not None else ()
        pending = self.pending()
        return (*known, pending) if pending is not None else known

    def apply(self) -> bool:
        """Start spreading what was painted. Returns False, with a sentence, when there is nothing or no way."""
        layer, present, stroke = self._outcome.layer, self._outcome.present, self.pending()
        image = self._outcome.image
        if layer is None or present is None or image is None:
            tell("There is no result to correct yet: label one slice and press Segment.")
            return False
        if stroke is None:
            tell(f"Paint or wipe on '{layer.name}' where it is wrong, then press Spread strokes.")
            return False
        try:
            steps = _correction(scan_of(image), layer, present, stroke, self._support(), self._settings())
        except MedSSLError as error:
            tell_error(error, _DOING)
            return False
        data = layer.data
        if not self._panel.work.start(steps, lambda found: self._finish(image, layer, data, found), doing=_DOING):
            tell("A run is under way; the strokes wait for it.")
            return False
        return True

    def detach(self) -> None:
        """Stop listening; touches no Qt, so it may come after the widget's end."""
        if self._followed is not None:
            self._followed.events.paint.disconnect(self._on_painted)
        self._followed = None

    def _finish(self, image: Image, layer: Labels, data: np.ndarray, found: Segmentation) -> None:
        if layer is not self._outcome.layer or layer.data is not data:
            tell("The result was replaced while the strokes spread, so nothing was changed; paint again.")
            return
        tape = self._outcome.tape
        late = self.pending() if tape is not None else None
        self._outcome.add(image, found)
        _repaint(self._outcome.layer, late)

    def _follow(self) -> None:
        layer = self._outcome.layer
        if layer is not self._followed:
            self.detach()
            self._followed = layer
            if layer is not None:
                layer.events.paint.connect(self._on_painted)
        self._panel.spread_button.setEnabled(layer is not None)

    def _on_painted(self, event: Any = None) -> None:
        # Only painting starts it: after Undo run the strokes of that result are there again, and stay as they are.
        self._settled.start()

    def _on_settled(self) -> None:
        if not self._panel.live.isChecked() or self.pending() is None:
            return
        if self._panel.work.running:
            self._settled.start()
        else:
            self.apply()


def _correction(
    scan: Scan, layer: Labels, present: Segmentation, stroke: Stroke, support: Labels | None, settings: Any
) -> Callable[[], Steps[Segmentation]]:
    labels = present.labels.like(np.array(layer.data), present.labels.labels)  # with the toolbox's edits
    shown = dataclasses.replace(present, labels=labels)
    mask = None if support is None else np.array(support.data)
    absent = absences_of(support) if support is not None else {}

    def steps() -> Steps[Segmentation]:
        query = scan.volume()
        supports = supports_here(query, mask, absent)
        return (yield from correct_steps(query, shown, [stroke], supports=supports, settings=settings))

    return steps


def supports_here(query: Volume, mask: np.ndarray | None, absent: Mapping[int, tuple[int, ...]]) -> list[Support]:
    """What the support layer of a scan says, as supports; none when it says nothing or is on another grid."""
    if mask is None or mask.shape != query.shape or not (mask.any() or absent):
        return []
    return [Support(query, mask, absent=absent)]


def _repaint(layer: Labels | None, late: Stroke | None) -> None:
    """Put what was painted while the correction was computed onto the new result."""
    if layer is None or late is None:
        return
    values = np.asarray(layer.data)[late.index]
    other = values != late.values
    if other.any():
        index = tuple(axis[other] for axis in late.index)
        layer.data_setitem(index, late.values[other].astype(layer.data.dtype))
