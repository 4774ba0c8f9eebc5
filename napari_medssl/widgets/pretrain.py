"""The dock widget "Pretraining": choose scans and a method, train, watch the curves, use the weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFileDialog,
    QFormLayout,
    QLineEdit,
    QListWidget,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_medssl.errors import MedSSLError
from napari_medssl.progress import Progress, Steps
from napari_medssl.widgets._curve_plot import Curve, CurvePlot
from napari_medssl.widgets._engine import DEVICES, EngineHandle, engine_for
from napari_medssl.widgets._form import SettingsForm, folded
from napari_medssl.widgets._layout import NOTICE, fill_scrolling, group, text
from napari_medssl.widgets._notify import tell, tell_error
from napari_medssl.widgets._options import is_scan
from napari_medssl.widgets._scan import Scan, scan_of
from napari_medssl.widgets._training import training_request
from napari_medssl.widgets._work import WorkBar

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_medssl.train.method import Method

_DOING = "The training"


class PretrainWidget(QWidget):
    """Form, button, curves. The run lives in its folder: stopped, closed or crashed, it goes on from there.

    method_box: methods of all documents. form: settings of the chosen one. work: progress and Stop. weights: the file
    of the last finished run.
    """

    def __init__(self, napari_viewer: Viewer, engine: EngineHandle | None = None) -> None:
        super().__init__()
        self.viewer = napari_viewer
        self.engine = engine or engine_for(napari_viewer)
        self.engine.follow(self)
        self.weights: Path | None = None
        self._methods: dict[str, Method] = {}
        self._curves: dict[str, tuple[list[float], list[float]]] = {}
        self._make_controls()
        self._arrange()
        self._connect()
        self._refresh_scans()
        self.loading.start(_load_methods, self._on_methods, doing="Loading the methods")

    @property
    def method(self) -> Method | None:
        """The chosen method; None until they are loaded."""
        return self._methods.get(self.method_box.currentData() or "")

    @property
    def folders(self) -> list[Path]:
        """Folders of scans to learn from."""
        items = (self.folder_list.item(i) for i in range(self.folder_list.count()))
        return [Path(item.text()) for item in items if item is not None]

    def train(self) -> bool:
        """Start the run, or go on with the one in the folder. Returns False, with a sentence, when it cannot."""
        try:
            settings = self.form.read() if self.form is not None else None
            scans = self._open_scans() if self.use_open.isChecked() else []
            request = training_request(
                self.method, settings, scans, self.folders, self.out.text(), self.device.currentText()
            )
        except MedSSLError as error:
            tell_error(error, _DOING)
            return False
        self._load_curves(request.out)
        return self.work.start(request.steps, self._on_trained, doing=_DOING)

    def use_weights(self) -> None:
        """Let the viewer's other widgets work with the trained weights."""
        if self.weights is not None:
            self.engine.weights = str(self.weights)
            tell(f"One-shot segmentation now uses {self.weights}; restart napari for the default weights.")

    def add_folder(self, path: str = "") -> None:
        """Add a folder of scans; asks for it when none is given."""
        path = path or QFileDialog.getExistingDirectory(self, "Folder of scans")
        if path:
            self.folder_list.addItem(path)

    def closeEvent(self, event: Any) -> None:
        """Stop what is running; its state is saved."""
        self._detach()
        super().closeEvent(event)

    def _make_controls(self) -> None:
        self.use_open = QCheckBox("Scans that are open")
        self.use_open.setChecked(True)
        self.scan_text = text()
        self.folder_list = QListWidget()
        self.folder_list.setMaximumHeight(64)
        self.add_button = QPushButton("Add folder…")
        self.remove_button = QPushButton("Remove")
        self.method_box = QComboBox()
        self.method_text = text("Loading the methods…")
        self.small = QCheckBox("Small: minutes on a laptop")
        self.small.setChecked(True)
        self.form: SettingsForm[Any] | None = None
        self.form_place = QWidget()
        self.out = QLineEdit()
        self.out.setPlaceholderText("folder of the run")
        self.out_button = QPushButton("…")
        self.device = QComboBox()
        self.device.addItems(DEVICES)
        self.train_button = QPushButton("Train")
        self.train_button.setToolTip("Start, or go on with the run in the folder")
        self.loading, self.work = WorkBar(), WorkBar()
        self.work.cancel_button.setText("Stop")
        self.work.cancel_button.setToolTip("The state is saved; Train goes on from it")
        self.loss_plot, self.quality_plot = CurvePlot("step"), CurvePlot("step")
        self.result_text = text()
        self.use_button = QPushButton("Use for one-shot segmentation")
        self.use_button.setVisible(False)

    def _arrange(self) -> None:
        content = QWidget()
        column = QVBoxLayout(content)
        column.addWidget(
            group("1 · Scans", self.use_open, self.scan_text, self.folder_list, self.add_button, self.remove_button)
        )
        QVBoxLayout(self.form_place).setContentsMargins(0, 0, 0, 0)
        settings = folded("Settings", self.form_place)
        column.addWidget(group("2 · Method", self.method_box, self.method_text, self.small, settings))
        place = QWidget()
        rows = QFormLayout(place)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.addRow("Run folder", self.out)
        rows.addRow("", self.out_button)
        rows.addRow("Device", self.device)
        column.addWidget(group("3 · Train", place, self.train_button, self.loading, self.work))
        column.addWidget(group("4 · Curves", self.loss_plot, self.quality_plot, self.result_text, self.use_button))
        column.addWidget(text(NOTICE))
        column.addStretch()
        fill_scrolling(self, content)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)

    def _connect(self) -> None:
        self.add_button.clicked.connect(lambda: self.add_folder())
        self.remove_button.clicked.connect(lambda: self.folder_list.takeItem(self.folder_list.currentRow()))
        self.out_button.clicked.connect(self._choose_out)
        self.method_box.currentIndexChanged.connect(lambda _: self._on_method())
        self.small.toggled.connect(lambda _: self._on_method())
        self.train_button.clicked.connect(lambda: self.train())
        self.use_button.clicked.connect(self.use_weights)
        self.work.running_changed.connect(lambda running: self.train_button.setEnabled(not running))
        self.work.progressed.connect(self._on_progress)
        self.viewer.layers.events.inserted.connect(self._refresh_scans)
        self.viewer.layers.events.removed.connect(self._refresh_scans)
        self.destroyed.connect(lambda: self._detach())

    def _detach(self) -> None:
        # Also after the Qt object's end: napari destroys a closed dock without asking it, and a run may be under way.
        self.work.detach()
        self.loading.detach()
        self.viewer.layers.events.inserted.disconnect(self._refresh_scans)
        self.viewer.layers.events.removed.disconnect(self._refresh_scans)

    def _choose_out(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Folder of the run", self.out.text())
        if path:
            self.out.setText(path)

    def _open_scans(self) -> list[Scan]:
        return [scan_of(layer) for layer in self.viewer.layers if is_scan(layer)]

    def _refresh_scans(self, event: Any = None) -> None:
        names = [layer.name for layer in self.viewer.layers if is_scan(layer)]
        self.scan_text.setText(", ".join(names) if names else "none is open")

    def _on_methods(self, methods: dict[str, Method]) -> None:
        self._methods = methods
        self.method_box.blockSignals(True)
        for method in sorted(methods.values(), key=lambda m: (m.family, m.dims, m.name)):
            self.method_box.addItem(f"{method.name} · {method.family}, {method.dims}D", method.name)
        self.method_box.setCurrentIndex(max(0, self.method_box.findData("simclr")))
        self.method_box.blockSignals(False)
        self._on_method()

    def _on_method(self) -> None:
        method = self.method
        if method is None:
            return
        self.method_text.setText(f"{method.line}. Source: {method.source}.")
        place = self.form_place.layout()
        assert place is not None
        if self.form is not None:
            place.removeWidget(self.form)
            self.form.deleteLater()
        self.form = SettingsForm(method.small if self.small.isChecked() else method.settings())
        place.addWidget(self.form)

    def _load_curves(self, out: Path) -> None:
        """Show the curves of the run that will be gone on with."""
        from napari_medssl.train.curves import read_curves

        self._curves = {}
        for step, values in read_curves(out / "log.csv").items():
            self._add_point(step, values)
        self._draw()

    def _on_progress(self, progress: Progress) -> None:
        values = getattr(progress, "values", None)
        if values:
            self._add_point(progress.done, values)
            self._draw()

    def _add_point(self, step: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            x, y = self._curves.setdefault(name, ([], []))
            if x and x[-1] >= step:  # done again after a resume
                continue
            x.append(step)
            y.append(value)

    def _draw(self) -> None:
        self.loss_plot.show_curves(*(Curve(n, *self._curves[n]) for n in ("loss",) if n in self._curves))
        shown = ("knn", "accuracy")
        self.quality_plot.show_curves(*(Curve(n, *self._curves[n]) for n in shown if n in self._curves))

    def _on_trained(self, weights: Path) -> None:
        self.weights = weights
        self.result_text.setText(f"Weights: {weights}")
        self.use_button.setVisible(weights.name == "encoder.safetensors")


def _load_methods() -> Steps[dict[str, Method]]:
    yield Progress(0, 1, "loading the methods")
    from napari_medssl.train.method import all_methods  # brings torch: seconds, so only in the worker thread

    return all_methods()
