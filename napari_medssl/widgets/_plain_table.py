"""A table of text to look at; a double click opens a row."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem, QWidget

_ROW = 24


class PlainTable(QTableWidget):
    """The first `wide` columns share the room that is left. Signal `opened` with a row."""

    opened = Signal(int)

    def __init__(
        self, headers: Sequence[str], *, wide: int = 1, tip: str = "", most: int = 8, parent: QWidget | None = None
    ) -> None:
        super().__init__(0, len(headers), parent)
        self._most = most
        self.setHorizontalHeaderLabels(list(headers))
        self.setToolTip(tip)
        self.verticalHeader().setVisible(False)
        self.verticalHeader().setDefaultSectionSize(_ROW)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)  # names of scans differ at both ends
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setMinimumSectionSize(34)
        for column in range(wide):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.Stretch)
        self.cellDoubleClicked.connect(lambda row, _: self.opened.emit(row))
        self.show_rows(())

    def show_rows(self, rows: Sequence[Sequence[str]]) -> None:
        """Show other rows."""
        self.clearSelection()
        self.setRowCount(len(rows))
        for at, texts in enumerate(rows):
            for column, words in enumerate(texts):
                item = QTableWidgetItem(words)
                if column:
                    item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                else:
                    item.setToolTip(words)
                self.setItem(at, column, item)
        shown = max(2, min(self._most, len(rows)))
        self.setFixedHeight(self.horizontalHeader().sizeHint().height() + _ROW * shown + 6)

    def texts(self) -> list[list[str]]:
        """What is shown, row by row."""
        cells = ((self.item(r, c) for c in range(self.columnCount())) for r in range(self.rowCount()))
        return [[item.text() if item is not None else "" for item in line] for line in cells]
