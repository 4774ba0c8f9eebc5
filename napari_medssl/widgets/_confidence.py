"""How sure the result is, as a layer, and the slice to label next, with the reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject

from napari_medssl.errors import MedSSLError
from napari_medssl.oneshot.confidence import confidence, confidence_map
from napari_medssl.oneshot.next_slice import Suggestion, suggest_slices
from napari_medssl.oneshot.result import Segmentation
from napari_medssl.progress import Progress, Steps
from napari_medssl.widgets._absence import absences_of
from napari_medssl.widgets._corrections import supports_here
from napari_medssl.widgets._layers import mark, role_of
from napari_medssl.widgets._notify import tell, tell_error
from napari_medssl.widgets._scan import Scan, scan_of
from napari_medssl.widgets._support import transform_of
from napari_medssl.widgets._work import Job

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel
    from napari.layers import Image, Labels

    from napari_medssl.widgets._outcome import Outcome
    from napari_medssl.widgets._panel import SegmentPanel

_ROLE = "confidence"
_DOING = "The confidence"
_COUNT = 5


@dataclass(frozen=True, eq=False)
class _Judged:
    """What is known of one result. values: (Z, Y, X) chance that the label is right. key: of result and labels."""

    key: object
    values: np.ndarray
    suggestions: tuple[Suggestion, ...]


class Trust(QObject):
    """Joins the confidence controls of the panel with the result.

    go_to: shows a slice. support: gives the layer the user labels. What was found for a result is kept until another
    result comes or another slice is labelled.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        panel: SegmentPanel,
        outcome: Outcome,
        *,
        support: Callable[[], Labels | None],
        go_to: Callable[[int], None],
    ) -> None:
        super().__init__(outcome)
        self._viewer, self._panel, self._outcome = viewer, panel, outcome
        self._support, self._go_to = support, go_to
        self._judged: _Judged | None = None
        self._job: Job[_Judged] | None = None
        self._wants: Callable[[_Judged], None] | None = None
        self._next = 0
        panel.confidence.toggled.connect(self._on_toggled)
        panel.suggest_button.clicked.connect(lambda: self.suggest())
        outcome.shown.connect(lambda _: self._on_shown())
        outcome.refreshed.connect(self._refresh)
        self._refresh()

    def suggest(self) -> bool:
        """Find the slice to label next, go there and say why; pressed again, the next best. False without a result."""
        return self._with_judged(self._show_suggestion)

    def detach(self) -> None:
        """Stop work; touches no Qt, so it may come after the widget's end."""
        if self._job is not None:
            self._job.cancel()

    def _refresh(self) -> None:
        self._panel.suggest_button.setEnabled(self._outcome.layer is not None)

    def _on_toggled(self, wanted: bool) -> None:
        if not wanted:
            self._remove()
        elif self._outcome.layer is not None:
            self._with_judged(self._show_layer)

    def _on_shown(self) -> None:
        self._panel.suggestion.setText("")
        if self._panel.confidence.isChecked():
            self._with_judged(self._show_layer)
        else:
            self._remove()

    def _with_judged(self, use: Callable[[_Judged], None]) -> bool:
        """Hand over what is known of the result on show, found now or in a moment."""
        image, present = self._outcome.image, self._outcome.present
        if image is None or present is None or self._outcome.layer is None:
            tell("There is no result yet: label one slice and press Segment.")
            return False
        try:
            scan = scan_of(image)
        except MedSSLError as error:
            tell_error(error, _DOING)
            return False
        support = self._support()
        mask = None if support is None else np.array(support.data)
        absent = absences_of(support) if support is not None else {}
        key = (id(present.labels.data), None if mask is None else mask.tobytes(), repr(absent))
        if self._judged is not None and self._judged.key == key:
            use(self._judged)
            return True
        self.detach()
        self._wants = use
        job: Job[_Judged] = Job(lambda: _judge_steps(scan, present, mask, absent, key))
        job.returned.connect(self._on_judged)
        job.failed.connect(lambda error: self._on_failed(error))
        self._job = job
        self._panel.suggestion.setText("Looking at the result …")
        job.start()
        return True

    def _on_judged(self, judged: _Judged) -> None:
        self._judged, self._next = judged, 0
        self._panel.suggestion.setText("")
        if self._outcome.layer is not None and self._wants is not None:
            self._wants(judged)
            if self._panel.confidence.isChecked():
                self._show_layer(judged)

    def _on_failed(self, error: BaseException) -> None:
        self._panel.suggestion.setText(tell_error(error, _DOING))

    def _show_suggestion(self, judged: _Judged) -> None:
        if not judged.suggestions:
            self._panel.suggestion.setText("Every slice in reach of the organs is labelled.")
            return
        number = self._next % len(judged.suggestions)
        best = judged.suggestions[number]
        self._next = number + 1
        self._panel.suggestion.setText(f"{number + 1}. Slice {best.z}: {best.reason}.")
        self._go_to(best.z)

    def _show_layer(self, judged: _Judged) -> None:
        image = self._outcome.image
        if image is None or image not in self._viewer.layers:
            return
        layer = self._layer(image)
        if layer is None:
            active = self._viewer.layers.selection.active
            layer = _add_layer(self._viewer, image, judged.values)
            self._viewer.layers.selection.active = active
        elif layer.data is not judged.values:
            layer.data = judged.values
        present = self._outcome.present
        mark(layer, role=_ROLE, of=image.unique_id, volume=None if present is None else present.labels)

    def _remove(self) -> None:
        image = self._outcome.image
        layer = self._layer(image) if image is not None else None
        if layer is not None:
            self._viewer.layers.remove(layer)

    def _layer(self, image: Image) -> Any:
        return next((one for one in self._viewer.layers if role_of(one) == (_ROLE, image.unique_id)), None)


def _judge_steps(
    scan: Scan, result: Segmentation, mask: np.ndarray | None, absent: dict[int, tuple[int, ...]], key: object
) -> Steps[_Judged]:
    yield Progress(0, 1, "looking at the result")
    query = scan.volume()
    found = confidence(query, result, supports_here(query, mask, absent))
    names = result.labels.labels
    best = suggest_slices(found, names, spacing_z_mm=query.spacing_mm[0], count=_COUNT)
    return _Judged(key, confidence_map(result, found), tuple(best))


def _add_layer(viewer: ViewerModel, image: Image, values: np.ndarray) -> Image:
    from napari.utils import Colormap

    # Red where a label is as likely wrong as right, nothing where it is sure.
    colors = Colormap([[0.85, 0.1, 0.2, 0.9], [0.95, 0.6, 0.2, 0.5], [1, 0.9, 0.5, 0.0]], name="medssl confidence")
    layer: Image = viewer.add_image(
        values, name=f"{image.name} confidence", colormap=colors, contrast_limits=(0.5, 1), blending="translucent",
        **transform_of(image),
    )  # fmt: skip
    return layer
