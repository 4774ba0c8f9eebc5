"""The dock widget "Pretraining": choose scans and a method, train, watch the curves, use the weights."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.qt import get_current_stylesheet
from qtpy.QtCore import Qt
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
from superqt import QSearchableComboBox

from napari_medssl.errors import MedSSLError
from napari_medssl.progress import Progress, Steps
from napari_medssl.widgets._curve_plot import Curve, CurvePlot
from napari_medssl.widgets._docked import DockedWidget
from napari_medssl.widgets._engine import DEVICES, EngineHandle, engine_for
from napari_medssl.widgets._form import SettingsForm, folded
from napari_medssl.widgets._layout import NOTICE, fill_scrolling, group, prominent, row, text
from napari_medssl.widgets._notify import tell, tell_error, tell_notes
from napari_medssl.widgets._options import is_scan
from napari_medssl.widgets._scan import Scan, scan_of
from napari_medssl.widgets._training import Learned, Remarked, training_request
from napari_medssl.widgets._work import WorkBar

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_medssl.train.method import Method

_DOING = "The training"
_STOPPING = "Stopping after this step; its state is being saved."
_STOPPED = "Stopped. The state is saved in the run folder."
_LOSSES, _QUALITIES = {"loss": "loss"}, {"knn": "k-NN", "accuracy": "accuracy"}  # column of the log to its name
_NAMED = 3  # open scans; more are counted
_CHECKS = 4  # of the k-NN in a small run, so that there is a curve


class PretrainWidget(DockedWidget):
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
        tell_notes(request.advice)
        self.result_text.setText("")
        self.use_button.setVisible(False)
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
        if path and Path(path) not in self.folders:
            self.folder_list.addItem(path)
        self._refresh_folders()

    def remove_folder(self) -> None:
        """Take the chosen folder off the list."""
        self.folder_list.takeItem(self.folder_list.currentRow())
        self._refresh_folders()

    def _make_controls(self) -> None:
        self.use_open = QCheckBox("Scans that are open")
        self.use_open.setChecked(True)
        self.scan_text = text()
        self.folder_list = QListWidget()
        self.folder_list.setMaximumHeight(64)
        self.add_button = QPushButton("Add folder…")
        self.add_button.setToolTip("A folder of scans, one with images/ and labels/, or one with DICOM series in it")
        self.remove_button = QPushButton("Remove")
        self.method_box: QComboBox = QSearchableComboBox()
        self.method_box.setMaxVisibleItems(24)
        self.method_box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.method_box.setMinimumContentsLength(20)
        self.method_box.setToolTip("Type a part of a name or family to search, such as jigsaw or 3D")
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
        self.train_button.setToolTip("Start, or go on with the run in the folder; more Steps lengthen a finished one")
        prominent(self.train_button)
        self.loading, self.work = WorkBar(), WorkBar()
        self.work.cancel_button.setText("Stop")
        self.work.cancel_button.setToolTip("The state is saved; Train goes on from it")
        self.loss_plot = CurvePlot("step", empty="the loss appears here")
        self.quality_plot = CurvePlot("step", empty="accuracy of the task, and k-NN on scans kept aside, appear here")
        self.result_text = text()
        self.use_button = QPushButton("Use for one-shot segmentation")
        self.use_button.setVisible(False)

    def _arrange(self) -> None:
        content = QWidget()
        column = QVBoxLayout(content)
        buttons = row(self.add_button, self.remove_button)
        column.addWidget(group("1 · Scans", self.use_open, self.scan_text, self.folder_list, buttons))
        QVBoxLayout(self.form_place).setContentsMargins(0, 0, 0, 0)
        settings = folded("Settings", self.form_place)
        column.addWidget(group("2 · Method", self.method_box, self.method_text, self.small, settings))
        place = QWidget()
        rows = QFormLayout(place)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.addRow("Run folder", row(self.out, self.out_button))
        rows.addRow("Device", self.device)
        column.addWidget(group("3 · Train", place, self.train_button, self.loading, self.work))
        column.addWidget(group("4 · Curves", self.loss_plot, self.quality_plot, self.result_text, self.use_button))
        column.addWidget(text(NOTICE))
        column.addStretch()
        fill_scrolling(self, content)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)

    def _connect(self) -> None:
        self.add_button.clicked.connect(lambda: self.add_folder())
        self.remove_button.clicked.connect(lambda: self.remove_folder())
        self.folder_list.itemSelectionChanged.connect(self._refresh_folders)
        self._refresh_folders()
        self.out_button.clicked.connect(self._choose_out)
        self.out.textChanged.connect(lambda _: self._refresh_train())
        self.method_box.currentIndexChanged.connect(lambda _: self._on_method())
        line, completer = self.method_box.lineEdit(), self.method_box.completer()
        assert line is not None
        assert completer is not None
        popup = completer.popup()
        assert popup is not None
        popup.setStyleSheet(get_current_stylesheet())  # a window of its own, which the viewer's style does not reach
        line.editingFinished.connect(self._show_method_name)
        self.small.toggled.connect(lambda _: self._on_method())
        self.train_button.clicked.connect(lambda: self.train())
        self.use_button.clicked.connect(self.use_weights)
        self.work.cancel_button.clicked.disconnect()
        self.work.cancel_button.clicked.connect(lambda: self.work.cancel(_STOPPING))
        self.work.running_changed.connect(self._on_running)
        self.work.progressed.connect(self._on_progress)
        self.viewer.layers.events.inserted.connect(self._refresh_scans)
        self.viewer.layers.events.removed.connect(self._refresh_scans)
        self.destroyed.connect(lambda: self._detach())

    def _detach(self) -> None:
        # Also after the Qt object's end: a closing window destroys its docks unasked, and a run may be under way.
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
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        self.scan_text.setText(", ".join(names[:_NAMED]) + more if names else "none is open")

    def _refresh_folders(self) -> None:
        some = self.folder_list.count() > 0
        self.folder_list.setVisible(some)
        self.remove_button.setVisible(some)
        self.remove_button.setEnabled(self.folder_list.currentRow() >= 0)

    def _on_running(self, running: bool) -> None:
        if not running and self.work.label.text() == _STOPPING:
            self.work.label.setText(_STOPPED)
        self._refresh_train()

    def _refresh_train(self) -> None:
        begun = bool(self.out.text().strip()) and (Path(self.out.text()).expanduser() / "state.safetensors").is_file()
        self.train_button.setText("Go on training" if begun else "Train")
        self.train_button.setEnabled(not self.work.running)

    def _show_method_name(self) -> None:
        # What was typed to search is no name; the box says again what is chosen.
        self.method_box.setEditText(self.method_box.itemText(self.method_box.currentIndex()))

    def _on_methods(self, methods: dict[str, Method]) -> None:
        self._methods = methods
        self.method_box.blockSignals(True)
        family = ""
        for method in sorted(methods.values(), key=lambda m: (m.family, m.dims, m.name)):
            if family not in ("", method.family):
                self.method_box.insertSeparator(self.method_box.count())
            family = method.family
            self.method_box.addItem(f"{method.name} · {family}, {method.dims}D", method.name)
            self.method_box.setItemData(self.method_box.count() - 1, method.line, Qt.ItemDataRole.ToolTipRole)
        self.method_box.setCurrentIndex(max(0, self.method_box.findData("simclr")))
        self.method_box.blockSignals(False)
        self._on_method()

    def _on_method(self) -> None:
        method = self.method
        if method is None:
            return
        self.method_text.setText(_about(method))
        place = self.form_place.layout()
        assert place is not None
        if self.form is not None:
            place.removeWidget(self.form)
            self.form.deleteLater()
        self.form = SettingsForm(_with_checks(method.small) if self.small.isChecked() else method.settings())
        place.addWidget(self.form)

    def _load_curves(self, out: Path) -> None:
        """Show the curves of the run that will be gone on with."""
        from napari_medssl.train.curves import read_curves

        self._curves = {}
        for step, values in read_curves(out / "log.csv").items():
            self._add_point(step, values)
        self._draw()

    def _on_progress(self, progress: Progress) -> None:
        if isinstance(progress, Remarked):
            tell_notes(progress.remarks)
        if isinstance(progress, Learned) and progress.points:
            for step, values in progress.points:
                self._add_point(step, values)
            self._draw()

    def _add_point(self, step: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            x, y = self._curves.setdefault(name, ([], []))
            if x and x[-1] >= step:  # done again after a resume
                continue
            x.append(step)
            y.append(value)

    def _draw(self) -> None:
        for plot, shown in ((self.loss_plot, _LOSSES), (self.quality_plot, _QUALITIES)):
            plot.show_curves(*(Curve(name, *self._curves[key]) for key, name in shown.items() if key in self._curves))

    def _on_trained(self, weights: Path) -> None:
        self._load_curves(weights.parent)  # a run that is ended by its time has told of its last step by the log alone
        self.weights = weights
        fits = weights.name == "encoder.safetensors"
        other = "" if fits else "\nOne-shot segmentation takes encoders of slices; judge these with medssl evaluate."
        self.result_text.setText(f"Weights: {weights}{other}")
        self.use_button.setVisible(fits)


def _load_methods() -> Steps[dict[str, Method]]:
    yield Progress(0, 1, "loading the methods")
    from napari_medssl.train.method import all_methods  # brings torch: seconds, so only in the worker thread

    return all_methods()


def _about(method: Method) -> str:
    """The paragraph below the list."""
    labels = " Learns from labels: needs a folder with images/ and labels/." if method.labels else ""
    line = method.line if method.line.endswith((".", "?")) else f"{method.line}."
    return f"{line}{labels} Source: {method.source.rstrip('.')}."


def _with_checks(small: Any) -> Any:
    """Small settings whose k-NN is asked a few times, as their runs are shorter than the time between two checks."""
    run = small.run
    if not run.monitor_every or run.monitor_every <= run.steps // 2:
        return small
    return dataclasses.replace(small, run=dataclasses.replace(run, monitor_every=max(1, run.steps // _CHECKS)))
