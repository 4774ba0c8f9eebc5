"""Tables of what was found: runs of slices in a scan, and all scans at a glance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem, QWidget

if TYPE_CHECKING:
    from napari_medssl.classify.slices.findings import Finding

_ROW = 24


class FindingsTable(QTableWidget):
    """Runs of slices. Signals: `jump` with the peak of the row that was double-clicked (or Enter), `chosen` with a
    finding that is selected."""

    jump = Signal(int)
    chosen = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(0, 4, parent)
        self._rows: tuple[Finding, ...] = ()
        self.setHorizontalHeaderLabels(("Class", "Slices", "Peak", "Score"))
        self.setToolTip("Double-click a finding to go to its peak")
        _plain(self)
        self.itemActivated.connect(lambda item: self.jump.emit(self._rows[item.row()].peak))
        self.cellDoubleClicked.connect(lambda row, _: self.jump.emit(self._rows[row].peak))
        self.itemSelectionChanged.connect(self._on_selected)
        _fit(self, least=2, most=6)

    @property
    def rows(self) -> tuple[Finding, ...]:
        """What is shown."""
        return self._rows

    @property
    def finding(self) -> Finding | None:
        """The selected one."""
        row = self.currentRow()
        return self._rows[row] if 0 <= row < len(self._rows) and self.selectedItems() else None

    def show_rows(self, rows: Sequence[Finding], colors: dict[str, tuple[int, int, int]]) -> None:
        """Show other findings."""
        self._rows = tuple(rows)
        self.clearSelection()
        self.setRowCount(len(self._rows))
        for at, found in enumerate(self._rows):
            span = str(found.first) if found.first == found.last else f"{found.first}–{found.last}"
            texts = (found.name, span, str(found.peak), f"{found.probability:.2f} ± {found.spread:.2f}")
            for column, text in enumerate(texts):
                self.setItem(at, column, _cell(text, colors.get(found.name) if column == 0 else None))
        _fit(self, least=2, most=6)

    def _on_selected(self) -> None:
        if self.finding is not None:
            self.chosen.emit(self.finding)


@dataclass(frozen=True)
class WorkRow:
    """A scan in the worklist: its name, how many slices are marked, the score of every class, how many findings."""

    name: str
    marked: int
    scores: tuple[float, ...] | None
    findings: int


class Worklist(QTableWidget):
    """All scans. Signal `opened` carries the number of the row that was double-clicked."""

    opened = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(0, 2, parent)
        self._rows: tuple[WorkRow, ...] = ()
        self.setToolTip("Double-click a scan to show it; the scores are of the scan as a whole")
        _plain(self)
        self.setTextElideMode(Qt.TextElideMode.ElideLeft)  # names of a study differ at their ends
        self.cellDoubleClicked.connect(lambda row, _: self.opened.emit(row))
        self.show_rows((), ())

    @property
    def rows(self) -> tuple[WorkRow, ...]:
        """What is shown."""
        return self._rows

    def show_rows(self, rows: Sequence[WorkRow], classes: Sequence[str]) -> None:
        """Show these scans, with a column per class."""
        self._rows = tuple(rows)
        head = ("Scan", "Marks", *classes, "Found")
        self.setColumnCount(len(head))
        self.setHorizontalHeaderLabels(head)
        self.horizontalHeader().setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.setRowCount(len(self._rows))
        for at, row in enumerate(self._rows):
            scores = ["–"] * len(classes) if row.scores is None else [f"{s:.2f}" for s in row.scores]
            found = "–" if row.scores is None else str(row.findings)
            for column, text in enumerate((row.name, str(row.marked), *scores, found)):
                item = _cell(text)
                if column == 0:
                    item.setToolTip(text)
                else:
                    item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                self.setItem(at, column, item)
        _fit(self, least=2, most=8)


def _plain(table: QTableWidget) -> None:
    table.verticalHeader().setVisible(False)
    table.verticalHeader().setDefaultSectionSize(_ROW)
    table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
    table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
    table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
    header = table.horizontalHeader()
    header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
    header.setMinimumSectionSize(34)
    header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)


def _fit(table: QTableWidget, *, least: int, most: int) -> None:
    rows = max(least, min(most, table.rowCount()))
    table.setFixedHeight(table.horizontalHeader().sizeHint().height() + _ROW * rows + 6)


def _cell(text: str, color: tuple[int, int, int] | None = None) -> QTableWidgetItem:
    item = QTableWidgetItem(text)
    if color is not None:
        swatch = QPixmap(12, 12)
        swatch.fill(QColor(*color))
        item.setIcon(QIcon(swatch))
    return item
