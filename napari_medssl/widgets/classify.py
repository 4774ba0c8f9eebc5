"""The dock widget "Slice classification": mark a few slices, learn, and see the score of every slice of every scan."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Image
from qtpy.QtWidgets import QFileDialog, QSizePolicy, QVBoxLayout

from napari_medssl.errors import MedSSLError, SupportError
from napari_medssl.progress import Progress, Steps
from napari_medssl.widgets._classify_panel import ClassifyPanel
from napari_medssl.widgets._docked import DockedWidget
from napari_medssl.widgets._engine import EngineHandle, engine_for
from napari_medssl.widgets._notify import tell, tell_error, tell_notes
from napari_medssl.widgets._options import is_scan
from napari_medssl.widgets._scan import Scan, scan_of
from napari_medssl.widgets._shown import show_only
from napari_medssl.widgets._slice_marking import Marking, is_usable
from napari_medssl.widgets._slice_marks import is_saved_marks
from napari_medssl.widgets._slice_outcome import SliceOutcome
from napari_medssl.widgets._slice_work import LearnRequest, Outcome, VectorStore, core_marks, load_steps

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_medssl.classify.slices.settings import LearnSettings

_LEARNING = "Learning"


class SliceClassificationWidget(DockedWidget):
    """Joins the panel, the marks and the scores of a viewer's scans with its engine.

    Marks live in layers, models and features in the engine; of each scan only its slice vectors are kept here.

    panel: the controls. marking: the marks' side. looking: the scores' side.
    """

    def __init__(self, napari_viewer: Viewer, engine: EngineHandle | None = None) -> None:
        super().__init__()
        self.viewer = napari_viewer
        self.engine = engine or engine_for(napari_viewer)
        self.engine.follow(self)
        self.panel = ClassifyPanel(napari_viewer)
        self.marking = Marking(napari_viewer, self.panel, self)
        self.looking = SliceOutcome(napari_viewer, self.panel, self.engine, self)
        self._store = VectorStore()
        self._again = False
        self._told: set[str] = set()
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.panel)
        self._connect()
        self._on_image(self.image)
        self.panel.work.start(_load_settings, self.panel.show_form, doing="Loading the settings")

    @property
    def image(self) -> Image | None:
        """The scan that is marked and looked at."""
        layer = self.panel.image.layer
        return layer if isinstance(layer, Image) else None

    @property
    def images(self) -> list[Image]:
        """All open scans that can be classified, in the order of the layers."""
        return [layer for layer in self.viewer.layers if is_scan(layer) and is_usable(layer)]

    @property
    def outcome(self) -> Outcome | None:
        """The head in use with the scores of the scans; None before the first Learn."""
        return self.looking.outcome

    def current_slice(self) -> int:
        """The slice on show, in the scan's own count; 0 without a scan."""
        return self.marking.current_slice()

    def go_to_slice(self, z: int) -> None:
        """Show a slice of the scan."""
        if self.image is not None:
            self.viewer.dims.set_point(self.viewer.dims.ndim - 3, float(self.image.data_to_world((z, 0, 0))[0]))

    def learn(self) -> bool:
        """Learn from the marks and score all open scans. False, with a sentence, when it cannot start."""
        if self.panel.work.running:
            tell("Something is running; wait for it or press Cancel, then press Learn again.")
            return False
        self.engine.device = self.panel.device.currentText()
        try:
            request = self._request()
        except MedSSLError as error:
            self.panel.learned_text.setText(tell_error(error, _LEARNING))
            return False
        return self.panel.work.start(lambda: request.steps(self.engine, self._store), self._show, doing=_LEARNING)

    def export(self, path: Path | None = None) -> bool:
        """Write the scores of all scans; asks for the path when none is given."""
        names = {str(image.unique_id): image.name for image in self.images}
        return self.looking.export(names, lambda: core_marks(self.marking.classes, self._marked(), several=True), path)

    def save_head(self, path: Path | None = None) -> bool:
        """Save what was learned; asks for the path when none is given."""
        return self.looking.save_head([image.name for image in self.images], path)

    def load_head(self, path: Path | None = None) -> bool:
        """Score all open scans with a head from a file; asks for the path when none is given."""
        if path is None:
            text, _ = QFileDialog.getOpenFileName(self, "Load head", "", "Head (*.safetensors)")
            if not text:
                return False
            path = Path(text)
        file, scans = path, self._scans()
        self.engine.device = self.panel.device.currentText()
        return self.panel.work.start(
            lambda: load_steps(file, scans, self.engine, self._store), self._show, doing="Loading the head"
        )

    def _detach(self) -> None:
        # Also after the Qt object's end: napari destroys a closed dock without asking it, and a run may be under way.
        self.panel.detach()
        self.marking.detach()
        self.viewer.layers.events.removed.disconnect(self._on_removed)
        self.viewer.layers.events.inserted.disconnect(self._on_inserted)
        self.viewer.dims.events.point.disconnect(self._on_moved)

    def _connect(self) -> None:
        panel = self.panel
        panel.image.chosen.connect(self._on_image)
        panel.learn_button.clicked.connect(lambda: self.learn())
        panel.evidence_button.clicked.connect(lambda: self.looking.show_evidence(self.current_slice()))
        panel.range_button.clicked.connect(lambda: self.looking.use_as_range())
        panel.export_button.clicked.connect(lambda: self.export())
        panel.save_button.clicked.connect(lambda: self.save_head())
        panel.load_button.clicked.connect(lambda: self.load_head())
        panel.curve.jump.connect(self.go_to_slice)
        panel.findings.jump.connect(self.go_to_slice)
        panel.findings.chosen.connect(lambda f: panel.evidence_class.setCurrentText(f.name))
        panel.worklist.opened.connect(self._open_row)
        panel.work.running_changed.connect(self._on_running)
        self.marking.changed.connect(self._on_marks)
        self.viewer.layers.events.inserted.connect(self._on_inserted)
        self.viewer.layers.events.removed.connect(self._on_removed)
        self.viewer.dims.events.point.connect(self._on_moved)
        self.destroyed.connect(lambda: self._detach())

    def _request(self) -> LearnRequest:
        """What is to be learned, checked as far as that needs no model."""
        if not self.images:
            scan_of(self.image)  # says what is wrong with the scan, or that there is none
        if self.panel.form is None:
            raise SupportError("the settings are still being loaded; press Learn again in a moment")
        marked = {key: found for key, found in self._marked().items() if found}
        classes, several = self.marking.classes, self.marking.several
        request = LearnRequest(self._scans(), marked, classes, several, self.panel.form.read())
        request.marks()
        return request

    def _scans(self) -> dict[str, Scan]:
        return {str(image.unique_id): scan_of(image) for image in self.images}

    def _marked(self) -> dict[str, Any]:
        return {str(image.unique_id): self.marking.book.of(image) for image in self.images}

    def _show(self, outcome: Outcome) -> None:
        self.looking.take(outcome, self.images)
        self.marking.list_classes(outcome.head.classes)
        tell_notes(tuple(note for note in outcome.notes if note not in self._told))
        self._told.update(outcome.notes)  # once is enough: the panel says them every time
        self._refresh()

    def _refresh(self) -> None:
        self.looking.image = self.image
        self.looking.refresh(self.marking.colors)
        marked = {key: len(found) for key, found in self._marked().items()}
        self.looking.refresh_worklist(marked, self.images)
        self._on_moved()

    def _on_image(self, image: Image | None) -> None:
        self.marking.aim(image)
        self._refresh()

    def _on_moved(self, event: Any = None) -> None:
        self.panel.curve.show_current(self.current_slice())
        self.marking.tell_slice()

    def _on_marks(self) -> None:
        self._refresh()
        if self.panel.live.isChecked() and self.outcome is not None:
            if self.panel.work.running:
                self._again = True
            else:
                self.learn()

    def _on_running(self, running: bool) -> None:
        panel = self.panel
        for button in (panel.learn_button, panel.load_button, panel.evidence_button, panel.export_button):
            button.setEnabled(not running)
        if not running and self._again:
            self._again = False
            self.learn()

    def _on_inserted(self, event: Any) -> None:
        if is_saved_marks(event.value):
            self.marking.take_saved()
            self.marking.refresh()
        self._refresh()

    def _on_removed(self, event: Any) -> None:
        layer = event.value
        if isinstance(layer, Image) and is_scan(layer):
            self.looking.forget(layer)
            if self.panel.work.running and self.images:
                tell(f"'{layer.name}' was removed; the work goes on for the other scans.")
            elif self.panel.work.running:
                why = f"'{layer.name}' was removed, so the work was stopped."
                self._again = False
                self.panel.work.cancel(why)
                tell(why)
        self.marking.refresh()
        self._refresh()

    def _open_row(self, row: int) -> None:
        images = self.images
        if row >= len(images):
            return
        show_only(self.viewer, images[row], images)
        self.viewer.layers.selection.active = images[row]
        self.panel.image.choose(images[row])
        if self.panel.findings.rows:
            self.go_to_slice(self.panel.findings.rows[0].peak)


def _load_settings() -> Steps[LearnSettings]:
    yield Progress(0, 0, "loading")
    from napari_medssl.classify.slices.settings import LearnSettings  # brings torch: only in the worker thread

    return LearnSettings()
