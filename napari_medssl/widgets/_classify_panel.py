"""The look of the slice classification: which controls there are and where. No behaviour."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QCheckBox, QComboBox, QFormLayout, QSpinBox, QVBoxLayout, QWidget

from napari_medssl.widgets._choosers import LayerChooser
from napari_medssl.widgets._class_list import ClassList
from napari_medssl.widgets._engine import DEVICES
from napari_medssl.widgets._findings_table import FindingsTable, Worklist
from napari_medssl.widgets._form import SettingsForm, folded
from napari_medssl.widgets._layout import NOTICE, button, fill_scrolling, group, prominent, row, text
from napari_medssl.widgets._options import is_scan, is_truth
from napari_medssl.widgets._score_curve import ScoreCurve
from napari_medssl.widgets._work import WorkBar

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_medssl.classify.slices.settings import LearnSettings


class ClassifyPanel(QWidget):
    """Four steps from top to bottom: mark, learn, look, all scans."""

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self.image = LayerChooser(viewer, is_scan)
        self.classes = ClassList()
        self.add_button = button("Add class", "One more class that a slice can show")
        self.remove_button = button("Remove", "Take the chosen class away, with its marks")
        self.several = QCheckBox("A slice can show several")
        self.several.setToolTip("Off: every marked slice shows exactly one class")
        self.several.setChecked(True)
        self.keys = QCheckBox("Keys 1–9, 0")
        self.keys.setToolTip("1 to 9 mark the slice on show, 0 says that it shows none of the classes")
        self.keys.setChecked(True)
        self.slice_text = text()
        self.nothing_button = button("None of these (0)", "This slice shows none of the classes")
        self.clear_button = button("Unmark", "Say nothing of this slice any more")
        self.undo_button = button("Undo", "Take the last change of the marks back")
        self.redo_button = button("Redo", "Do the change again")
        self.labels = LayerChooser(viewer, is_truth, none="(none)")
        self.every = QSpinBox()
        self.every.setRange(1, 100)
        self.every.setPrefix("every ")
        self.every.setSuffix(". slice")
        self.labels_button = button("Mark from labels", "Mark slices by the organs these labels show on them")
        self.learn_button = button("Learn", "Learn from the marks and score every slice of all open scans")
        self.live = QCheckBox("Update while I mark")
        self.form: SettingsForm[LearnSettings] | None = None
        self.form_place = QWidget()
        self.device = QComboBox()
        self.device.addItems(DEVICES)
        self.work = WorkBar()
        self.learned_text = text()
        self.curve = ScoreCurve()
        self.findings = FindingsTable()
        self.evidence_class = QComboBox()
        self.evidence_button = button("Evidence", "Show where on the slices of the finding the evidence lies")
        self.range_button = button(
            "Use as slice range", "Limit One-shot segmentation to the slices that show this class"
        )
        self.worklist = Worklist()
        self.export_button = button("Export…", "Save the scores as a table (CSV) or with the findings (JSON)")
        self.save_button = button("Save head…", "Save what was learned, to score other scans with it")
        self.load_button = button("Load head…", "Score all open scans with what was learned before")
        self._arrange()

    def show_form(self, settings: LearnSettings) -> None:
        """Offer the settings of learning, once they are loaded."""
        self.form = SettingsForm(settings)
        layout = self.form_place.layout()
        assert layout is not None
        layout.addWidget(self.form)

    def detach(self) -> None:
        """Stop work and listening; touches no Qt, so it may come after the widget's end."""
        self.image.detach()
        self.labels.detach()
        self.work.detach()

    def _arrange(self) -> None:
        content = QWidget()
        column = QVBoxLayout(content)
        prominent(self.learn_button)
        QVBoxLayout(self.form_place).setContentsMargins(0, 0, 0, 0)
        column.addWidget(
            group(
                "1 · Mark slices",
                self.image,
                self.classes,
                row(self.add_button, self.remove_button, self.several),
                self.slice_text,
                row(self.nothing_button, self.clear_button, self.keys),
                row(self.undo_button, self.redo_button),
                folded("From existing labels", self._from_labels()),
            )
        )
        column.addWidget(
            group(
                "2 · Learn",
                self.learn_button,
                self.work,
                self.live,
                self.learned_text,
                folded("Settings", self._settings()),
            )
        )
        what = row(self.evidence_class, self.evidence_button, self.range_button)
        column.addWidget(group("3 · Look", self.curve, self.findings, what))
        files = row(self.export_button, self.save_button, self.load_button)
        column.addWidget(group("4 · All scans", self.worklist, files))
        column.addWidget(text(NOTICE))
        column.addStretch()
        fill_scrolling(self, content)

    def _from_labels(self) -> QWidget:
        box = QWidget()
        rows = QFormLayout(box)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.addRow("Labels", self.labels)
        rows.addRow(self.every, self.labels_button)
        return box

    def _settings(self) -> QWidget:
        box = QWidget()
        rows = QFormLayout(box)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.addRow("Device", self.device)
        rows.addRow(self.form_place)
        return box
