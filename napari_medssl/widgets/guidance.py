"""The dock widget "Guidance": state the facts, get a shortlist with reasons, contradictions and flowcharts."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QApplication,
    QCheckBox,
    QCompleter,
    QDoubleSpinBox,
    QFormLayout,
    QHeaderView,
    QLabel,
    QLineEdit,
    QSizePolicy,
    QTableWidget,
    QTableWidgetItem,
    QTabWidget,
    QTextBrowser,
    QVBoxLayout,
    QWidget,
)

from napari_medssl.errors import SettingsError
from napari_medssl.guidance.methods import METHODS
from napari_medssl.guidance.notice import NOTICE
from napari_medssl.guidance.question import PLANS, Modality, Question
from napari_medssl.guidance.recommend import Candidate, Recommendation, recommend
from napari_medssl.guidance.taxonomy import SYSTEMS
from napari_medssl.volume import Volume
from napari_medssl.widgets._flowchart import FlowchartExplorer
from napari_medssl.widgets._form import SettingsForm, folded
from napari_medssl.widgets._layers import KEY
from napari_medssl.widgets._layout import button, fill_scrolling, group, row, text
from napari_medssl.widgets._notify import tell
from napari_medssl.widgets._pages import advice_page, conflicts_page, method_page, reasons_page

if TYPE_CHECKING:
    from napari.viewer import Viewer

_COLUMNS = ("Method", "Dims", "Score", "For", "Against")
_SYSTEM_COLUMNS = ("Family", "What", "Role", "Methods here")
_MODALITIES: dict[str, Modality] = {"MR": "MR", "CT": "CT"}


class GuidanceWidget(QWidget):
    """A form of the facts on top, the answer below it; the answer follows every edit.

    form, plans, shapes: the facts. shortlist: the methods, whose selected row fills "Reasons". answer: the last one,
    which stays on show while a fact is mistyped; problem then says what is wrong.
    """

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self.viewer = napari_viewer
        self.answer: Recommendation = recommend(Question())
        self.form: SettingsForm[Question] = SettingsForm(Question())
        self.plans = {name: QCheckBox(text[:1].upper() + text[1:]) for name, text in PLANS.items()}
        self.shapes = {name: QLineEdit() for name in ("pretrain_shape", "finetune_shape")}
        self.scan_button = button(
            "From the selected scan", "Take modality, dimensions and slices from the scan's layer"
        )
        self.problem, self.paradigm = text(), text()
        self.shortlist = _table(_COLUMNS)
        self.command = QLineEdit()
        self.copy_button = button("Copy", "Copy the command that trains this method")
        self.tabs = QTabWidget()
        self.pages = {name: QTextBrowser() for name in ("Advice", "Reasons", "Conflicts")}
        self.charts = FlowchartExplorer()
        self.systems = _table(_SYSTEM_COLUMNS)
        self._prepare()
        self._arrange()
        self._connect()
        self.refresh()

    @property
    def candidate(self) -> Candidate | None:
        """The method of the selected row; the first one when none is selected."""
        row = max(self.shortlist.currentRow(), 0)
        return self.answer.shortlist[row] if self.answer.shortlist else None

    def question(self) -> Question:
        """The facts as the form shows them. Raises SettingsError for one that cannot be."""
        plans = tuple(name for name, box in self.plans.items() if box.isChecked())
        first, second = (_shape(name, entry.text()) for name, entry in self.shapes.items())
        return dataclasses.replace(self.form.read(), plans=plans, pretrain_shape=first, finetune_shape=second)

    def refresh(self) -> None:
        """Answer the facts anew."""
        try:
            self.answer = recommend(self.question())
        except SettingsError as error:
            self.problem.setText(str(error))
            self.problem.show()
            return
        self.problem.hide()
        self._show_answer()

    def copy_command(self) -> None:
        """Put the command on the clipboard."""
        clipboard = QApplication.clipboard()
        assert clipboard is not None  # there is one as soon as there is a widget
        clipboard.setText(self.command.text())

    def take_scan(self) -> bool:
        """Fill in what the selected layer tells. Returns False, with a sentence, when it tells nothing."""
        layer = self.viewer.layers.selection.active
        volume = layer.metadata.get(KEY, {}).get("volume") if layer is not None else None
        if not isinstance(volume, Volume):
            tell("Select the layer of a scan that was opened with this plugin, then press the button again.")
            return False
        known: dict[str, Any] = {"dims": "3D" if volume.shape[0] > 1 else "2D", "slices": volume.shape[0]}
        if volume.modality in _MODALITIES:
            known["modality"] = _MODALITIES[volume.modality]
        for name, entry in self.form.entries():
            if name in known:
                entry.value = known[name]
        return True

    def _show_answer(self) -> None:
        answer = self.answer
        best = next(iter(answer.choices.get("paradigm", ())), None)
        why = f" (step {answer.decision.step} of R-21)" if answer.decision else ""
        self.paradigm.setText(f"Paradigm: {best.name}{why}" if best else "Paradigm: not decided by the stated facts")
        blocked = self.shortlist.blockSignals(True)
        _fill(self.shortlist, [_row(candidate) for candidate in answer.shortlist])
        self.shortlist.blockSignals(blocked)
        self.shortlist.clearSelection()
        self.shortlist.setCurrentCell(-1, -1)
        self.pages["Advice"].setHtml(advice_page(answer))
        self.pages["Conflicts"].setHtml(conflicts_page(answer))
        self.charts.set_question(answer.question)
        self._show_method()

    def _show_method(self) -> None:
        candidate, chosen = self.candidate, self.shortlist.currentRow() >= 0
        self.command.setText(candidate.command if candidate else "")
        self.command.setCursorPosition(0)
        self.copy_button.setEnabled(candidate is not None)
        told = method_page(candidate) if candidate and chosen else reasons_page(self.answer)
        self.pages["Reasons"].setHtml(told)

    def _on_row(self) -> None:
        self._show_method()
        if self.shortlist.currentRow() >= 0:
            self.tabs.setCurrentWidget(self.pages["Reasons"])

    def _prepare(self) -> None:
        for name, entry in self.form.entries():
            native = entry.native
            if isinstance(native, QDoubleSpinBox):
                native.setSpecialValueText(
                    "not stated"
                )  # at the lowest value; the box of whole numbers has no such text
            if name == "method" and isinstance(native, QLineEdit):
                native.setCompleter(QCompleter(list(METHODS), native))
                native.setPlaceholderText("any")
        for edit in self.shapes.values():
            edit.setPlaceholderText("Z,Y,X or Y,X")
        self.command.setReadOnly(True)
        self.problem.setStyleSheet("color: #e05050")
        _bold(self.paradigm)
        rows = [(s.family or "-", f"{s.id} {s.title}", s.role, ", ".join(s.methods)) for s in SYSTEMS]
        _fill(self.systems, sorted(rows, key=lambda row: (row[0] == "-", row[0])))
        header = self.systems.horizontalHeader()
        header.setSortIndicator(-1, Qt.SortOrder.AscendingOrder)  # as they were filled in, until a heading is clicked
        self.systems.setSortingEnabled(True)
        header.setStretchLastSection(False)
        header.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        header.setSectionResizeMode(1, QHeaderView.ResizeMode.Stretch)
        for column, width in ((0, 100), (2, 66), (3, 110)):
            header.resizeSection(column, width)
        self.shortlist.setMinimumHeight(170)
        self.shortlist.setToolTip("Best first; select a method to read its reasons in full")

    def _connect(self) -> None:
        self.form.changed.connect(self.refresh)
        for box in self.plans.values():
            box.toggled.connect(lambda *_: self.refresh())
        for edit in self.shapes.values():
            edit.editingFinished.connect(self.refresh)
        self.shortlist.itemSelectionChanged.connect(self._on_row)
        self.copy_button.clicked.connect(lambda: self.copy_command())
        self.scan_button.clicked.connect(lambda: self.take_scan())

    def _arrange(self) -> None:
        content = QWidget()
        column = QVBoxLayout(content)
        facts = (self.scan_button, self.form, text("A count of -1 is not stated."), self._more())
        column.addWidget(group("1 · Your task: state what you know", *facts))
        command = row(self.command, self.copy_button)
        column.addWidget(
            group("2 · Methods to try, from the top", self.problem, self.paradigm, self.shortlist, command)
        )
        for name, browser in self.pages.items():
            self.tabs.addTab(browser, name)
        self.tabs.addTab(self.charts, "Flowcharts")
        self.tabs.addTab(self.systems, "All methods")
        self.tabs.setMinimumHeight(320)
        column.addWidget(group("3 · Why", self.tabs), stretch=1)
        column.addWidget(text(NOTICE))
        fill_scrolling(self, content)
        # Without a policy that wants height napari adds a stretch and the panel gets half the dock.
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)

    def _more(self) -> QWidget:
        box = QWidget()
        column = QVBoxLayout(box)
        column.setContentsMargins(0, 0, 0, 0)
        for plan in self.plans.values():
            column.addWidget(plan)
        rows = QFormLayout()
        for name, edit in self.shapes.items():
            rows.addRow(name.replace("_", " ").capitalize(), edit)
        column.addLayout(rows)
        return folded("What you plan", box)


def _row(candidate: Candidate) -> tuple[str, ...]:
    entry = candidate.method
    return (entry.name, f"{entry.dims}D", str(candidate.score), ", ".join(candidate.pro), ", ".join(candidate.contra))


def _shape(name: str, text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isdecimal() for part in parts):
        raise SettingsError(f"{name} is {text!r}; write whole numbers such as 64,64,32")
    return tuple(int(part) for part in parts)


def _table(columns: Sequence[str]) -> QTableWidget:
    table = QTableWidget(0, len(columns))
    table.setHorizontalHeaderLabels(list(columns))
    table.verticalHeader().setVisible(False)
    table.verticalHeader().setDefaultSectionSize(22)
    table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
    table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
    table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
    table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
    table.horizontalHeader().setStretchLastSection(True)
    return table


def _fill(table: QTableWidget, rows: Sequence[Sequence[str]]) -> None:
    table.setRowCount(len(rows))
    for at, cells in enumerate(rows):
        for column, cell in enumerate(cells):
            item = QTableWidgetItem(cell)
            item.setToolTip(cell)
            table.setItem(at, column, item)


def _bold(label: QLabel) -> None:
    font = label.font()
    font.setBold(True)
    label.setFont(font)
