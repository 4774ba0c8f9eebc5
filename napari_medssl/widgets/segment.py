"""The dock widget "One-shot segmentation": label a slice, press Segment, correct, export."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels
from qtpy.QtWidgets import QSizePolicy, QVBoxLayout

from napari_medssl.errors import MedSSLError, SupportError
from napari_medssl.geometry import is_oblique, plane_name
from napari_medssl.oneshot.result import Segmentation
from napari_medssl.volume import Volume
from napari_medssl.widgets._absence import absences_of, toggle_absence
from napari_medssl.widgets._confidence import Trust
from napari_medssl.widgets._corrections import Corrections
from napari_medssl.widgets._docked import DockedWidget
from napari_medssl.widgets._editing import Editing
from napari_medssl.widgets._engine import EngineHandle, engine_for
from napari_medssl.widgets._labelling import Labelling
from napari_medssl.widgets._layers import KEY
from napari_medssl.widgets._library import AddRequest, ApplyRequest, Wanted, ask_addition, ask_library, examples_used
from napari_medssl.widgets._notify import tell, tell_error, tell_notes
from napari_medssl.widgets._orientation import show_orientation
from napari_medssl.widgets._outcome import Outcome
from napari_medssl.widgets._panel import SegmentPanel
from napari_medssl.widgets._request import example_of, request_of
from napari_medssl.widgets._scan import scan_of
from napari_medssl.widgets._support import describe

if TYPE_CHECKING:
    from napari.viewer import Viewer

_DOING = "The segmentation"


class OneShotWidget(DockedWidget):
    """Joins the panel, the labelling and the results of a viewer with its engine.

    It holds no voxels but the undo history: labels live in layers, models and features in the engine.

    panel: the controls. labelling: the support side. outcome: the result side.
    """

    def __init__(self, napari_viewer: Viewer, engine: EngineHandle | None = None) -> None:
        super().__init__()
        self.viewer = napari_viewer
        self.engine = engine or engine_for(napari_viewer)
        self.engine.follow(self)
        self.panel = SegmentPanel(napari_viewer)
        self.labelling = Labelling(napari_viewer, self.panel, self)
        self.outcome = Outcome(napari_viewer, self.panel, self)
        self.editing = Editing(
            self.panel.toolbox, self.outcome, painted=lambda: self.support, current_slice=self.current_slice
        )
        self.corrections = Corrections(
            self.panel, self.outcome, support=lambda: self.support, settings=self.panel.form.read
        )
        self.trust = Trust(
            napari_viewer, self.panel, self.outcome, support=lambda: self.support, go_to=self.go_to_slice
        )
        self._library = Path.home() / "organs.medssl"  # the one used last
        self._running_on: Image | None = None
        self._again = False
        self._told: set[str] = set()
        # Without a policy that wants height napari adds a stretch and the panel gets half the dock.
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.panel)
        show_orientation(napari_viewer)
        self._connect()
        self._on_image(self.image)

    @property
    def image(self) -> Image | None:
        """The scan to segment."""
        layer = self.panel.image.layer
        return layer if isinstance(layer, Image) else None

    @property
    def support(self) -> Labels | None:
        """The layer the user labels."""
        return self.labelling.support

    @property
    def result(self) -> Labels | None:
        """The layer with the last result."""
        return self.outcome.layer

    def segment(self) -> bool:
        """Start a run. Returns False, with a sentence, when it cannot start."""
        if self.panel.work.running:
            tell("A segmentation is running; wait for it or press Cancel, then press Segment again.")
            return False
        image = self.image
        try:
            request = request_of(
                image, self.support, self.panel.other.value(), self.panel.range.value(), self.panel.form.read()
            )
            request = dataclasses.replace(request, **self._said())
        except MedSSLError as error:
            tell_error(error, _DOING)
            return False
        assert image is not None  # request_of has refused a missing scan
        self.engine.device = self.panel.device.currentText()
        self._running_on = image
        return self.panel.work.start(
            lambda: request.steps(self.engine), lambda result: self._finish(image, result), doing=_DOING
        )

    def add_to_library(self, wanted: Wanted | None = None) -> bool:
        """Keep the labelled slices in a library; asks for file and words when none are given."""
        image, support = self.image, self.support
        try:
            if support is None:
                raise SupportError("no organ is labelled yet; label one slice (or more), then add it to a library")
            example = example_of(image, support)
        except MedSSLError as error:
            tell_error(error, "The addition")
            return False
        present = tuple(o for o in example.labels if (example.mask == o.value).any())
        wanted = wanted or ask_addition(present, self._library, self)
        if wanted is None:
            return False
        self._library = wanted.path
        return self._started(
            self.panel.work.start(
                AddRequest(example, wanted).steps, lambda said: tell(". ".join(said)), doing="The addition"
            )
        )

    def apply_library(self, path: Path | None = None) -> bool:
        """Segment the scan with a library; asks for the file when none is given."""
        image = self.image
        try:
            query, span = scan_of(image), self.panel.range.value()
        except MedSSLError as error:
            tell_error(error, _DOING)
            return False
        path = path or ask_library(self, str(self._library))
        if path is None:
            return False
        assert image is not None  # scan_of has refused a missing scan
        self._library = path
        request = ApplyRequest(query, path, span, self.panel.form.read(), **self._said())
        if not self.panel.work.running:
            self.engine.device = self.panel.device.currentText()
            self._running_on = image

        def show(result: Segmentation) -> None:
            self._finish(image, result)
            tell(examples_used(result))

        return self._started(self.panel.work.start(lambda: request.steps(self.engine), show, doing=_DOING))

    def correct_slice(self) -> bool:
        """Copy the result of the slice on show into the support layer and take the brush."""
        if self.result is None:
            tell("There is no result to correct yet: label one slice and press Segment.")
            return False
        return self.labelling.take(self.result, self.current_slice())

    def not_here(self) -> bool:
        """Say that the selected organ is not on the slice on show, or take it back; it then ends before that slice."""
        support, organ = self.support, self.panel.organs.current
        if support is None or organ is None:
            tell("Label the organ on one slice first; then say on which slices it is not.")
            return False
        try:
            toggle_absence(support, organ.value, self.current_slice())
        except MedSSLError as error:
            tell_error(error, "Marking the slice")
            return False
        self.panel.support_text.setText(describe(support))
        self._on_edited()
        return True

    def use_slice(self) -> bool:
        """Copy the slice on show of the chosen labels into the support layer."""
        source = self.panel.source.layer
        if not isinstance(source, Labels):
            tell("Choose a Labels layer of this scan first, then go to a labelled slice and press Use this slice.")
            return False
        return self.labelling.take(source, self.current_slice())

    def export(self, path: Path | None = None) -> bool:
        """Write the result with its report; asks for the path when none is given."""
        return self.outcome.export(path)

    def current_slice(self) -> int:
        """The slice on show, in the scan's own count; 0 without a scan."""
        if self.image is None:
            return 0
        return round(float(self.image.world_to_data(self.viewer.dims.point[-3:])[0]))

    def go_to_slice(self, z: int) -> None:
        """Show a slice of the scan."""
        if self.image is not None:
            self.viewer.dims.set_point(self.viewer.dims.ndim - 3, float(self.image.data_to_world((z, 0, 0))[0]))

    def _detach(self) -> None:
        # Also after the Qt object's end: napari destroys a closed dock without asking it, and a run may be under way.
        self.panel.detach()
        self.labelling.detach()
        self.corrections.detach()
        self.trust.detach()
        self.outcome.detach()
        self.viewer.layers.events.removed.disconnect(self._on_layer_removed)

    def _connect(self) -> None:
        panel = self.panel
        panel.image.chosen.connect(self._on_image)
        panel.segment_button.clicked.connect(lambda: self.segment())
        panel.take_button.clicked.connect(lambda: self.correct_slice())
        panel.use_button.clicked.connect(lambda: self.use_slice())
        panel.absent_button.clicked.connect(lambda: self.not_here())
        panel.export_button.clicked.connect(lambda: self.export())
        panel.library.add_button.clicked.connect(lambda: self.add_to_library())
        panel.library.apply_button.clicked.connect(lambda: self.apply_library())
        panel.table.jump.connect(self.go_to_slice)
        panel.work.running_changed.connect(self._on_running)
        self.destroyed.connect(lambda: self._detach())
        self.labelling.edited.connect(self._on_edited)
        self.labelling.organs_changed.connect(self.outcome.name_organs)
        self.viewer.layers.events.removed.connect(self._on_layer_removed)

    def _said(self) -> dict[str, Any]:
        """Corrections of the scan, which every run is to keep."""
        absent = absences_of(self.support) if self.support is not None else {}
        return {"strokes": self.corrections.strokes(), "absent": absent}

    def _started(self, started: bool) -> bool:
        if not started:
            tell("A run is under way; wait for it or press Cancel, then try again.")
        return started

    def _on_image(self, image: Image | None) -> None:
        self.panel.summary.setText(summary(image))
        shape: tuple[int, ...] = image.data.shape if image is not None else ()
        self.panel.range.set_depth(int(shape[0]) if len(shape) == 3 else 1)
        self.labelling.aim(image)
        self.outcome.aim(image)

    def _on_edited(self) -> None:
        support = self.support
        if not self.panel.live.isChecked() or self.result is None or support is None:
            return  # the first run is the user's own decision
        if self.panel.work.running:
            self._again = True
            self.panel.support_text.setText(self.panel.support_text.text() + " · one more run is waiting")
        elif np.asarray(support.data).any():
            self.segment()

    def _on_running(self, running: bool) -> None:
        self.panel.segment_button.setEnabled(not running)
        if not running:
            self._running_on = None
            if self._again:
                self._again = False
                self._on_edited()

    def _on_layer_removed(self, event: Any) -> None:
        running = self._running_on
        if running is not None and event.value is running:
            self._again = False
            why = f"'{running.name}' was removed while it was being segmented, so the run was stopped."
            self.panel.work.cancel(why)
            tell(why)

    def _finish(self, image: Image, result: Segmentation) -> None:
        if image in self.viewer.layers:
            self.outcome.add(image, result)
            notes = [str(warning) for warning in result.report.get("warnings", ())]
            tell_notes(tuple(note for note in notes if note not in self._told))
            self._told.update(notes)  # once is enough: the report has them every time


def summary(image: Image | None) -> str:
    """What is known of a scan, in a line: plane, modality, size; or why it cannot be segmented."""
    try:
        scan = scan_of(image)
    except MedSSLError as error:
        return str(error)
    volume = image.metadata.get(KEY, {}).get("volume") if image is not None else None
    z, y, x = scan.data.shape
    if not isinstance(volume, Volume):
        return f"{z} slices of {y} x {x}; its file gave no patient directions, so the usual axial view is assumed"
    kind = "" if volume.modality == "auto" else f" {volume.modality}"
    spacing = " x ".join(f"{s:.3g}" for s in volume.spacing_mm)
    tilted = ", oblique: shown along its own axes" if is_oblique(volume.affine) else ""
    return f"{plane_name(volume)}{kind}, {z} slices of {y} x {x}, voxels {spacing} mm{tilted}"
