"""The list of organs: names, colours, and which one is painted."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from qtpy.QtCore import QItemSelectionModel, Qt, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import (
    QAbstractItemView,
    QColorDialog,
    QHBoxLayout,
    QHeaderView,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_medssl.labels import Label
from napari_medssl.widgets._support import next_organ

_COLOR, _NAME = 0, 1


class OrganList(QWidget):
    """Organs to label. Signals: `changed` with all of them after an edit, `selected` with the value to paint,
    `removed` with the value of an organ taken off the list."""

    changed = Signal(tuple)
    selected = Signal(int)
    removed = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._organs: tuple[Label, ...] = ()
        self.table = QTableWidget(0, 2)
        self._style_table()
        self.add_button = QPushButton("Add organ")
        self.remove_button = QPushButton("Remove")
        self.add_button.clicked.connect(lambda: self.add())
        self.remove_button.clicked.connect(lambda: self.remove())
        buttons = QHBoxLayout()
        buttons.addWidget(self.add_button)
        buttons.addWidget(self.remove_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.table)
        layout.addLayout(buttons)

    @property
    def organs(self) -> tuple[Label, ...]:
        """The organs listed."""
        return self._organs

    @property
    def current(self) -> Label | None:
        """The organ that is painted."""
        row = self.table.currentRow()
        return self._organs[row] if 0 <= row < len(self._organs) else None

    def show_organs(self, organs: Sequence[Label], selected: int | None = None) -> None:
        """List other organs; emits nothing."""
        self._organs = tuple(organs)
        blocked = self.table.blockSignals(True)
        self.table.setRowCount(len(self._organs))
        for row, label in enumerate(self._organs):
            swatch = QTableWidgetItem()
            swatch.setBackground(QColor(*label.color))
            swatch.setFlags(Qt.ItemFlag.ItemIsEnabled)
            swatch.setToolTip("Click to choose another colour")
            self.table.setItem(row, _COLOR, swatch)
            self.table.setItem(row, _NAME, QTableWidgetItem(label.name))
        rows = [row for row, label in enumerate(self._organs) if label.value == selected]
        if self._organs:
            self._make_current(rows[0] if rows else 0)
        self.table.blockSignals(blocked)
        height = self.table.horizontalHeader().height() + 24 * max(2, min(6, len(self._organs))) + 6
        self.table.setFixedHeight(height)

    def select(self, value: int) -> None:
        """Make an organ the painted one."""
        for row, label in enumerate(self._organs):
            if label.value == value:
                self._make_current(row)

    def add(self) -> Label:
        """Add an organ with the next colour and select it; its name is ready to be typed."""
        label = next_organ(self._organs)
        self.show_organs((*self._organs, label), label.value)
        self.changed.emit(self._organs)
        self.selected.emit(label.value)
        return label

    def remove(self) -> None:
        """Take the current organ off the list; the last one stays."""
        label = self.current
        if label is None or len(self._organs) == 1:
            return
        self.show_organs([o for o in self._organs if o is not label])
        self.removed.emit(label.value)
        self.changed.emit(self._organs)
        self.selected.emit(self._organs[0].value)

    def rename(self, value: int, name: str) -> None:
        """Give an organ another name."""
        self._replace(value, name=name)

    def recolor(self, value: int, color: tuple[int, int, int]) -> None:
        """Give an organ another colour (RGB bytes)."""
        self._replace(value, color=color)

    def _replace(self, value: int, **facts: object) -> None:
        organs = tuple(dataclasses.replace(o, **facts) if o.value == value else o for o in self._organs)  # type: ignore[arg-type]
        current = self.current
        self.show_organs(organs, current.value if current else None)
        self.changed.emit(self._organs)

    def _make_current(self, row: int) -> None:
        flags = QItemSelectionModel.SelectionFlag.ClearAndSelect | QItemSelectionModel.SelectionFlag.Rows
        self.table.setCurrentCell(row, _NAME, flags)

    def _style_table(self) -> None:
        self.table.setHorizontalHeaderLabels(["", "Organ (double-click to rename)"])
        self.table.verticalHeader().setVisible(False)
        self.table.verticalHeader().setDefaultSectionSize(24)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        header = self.table.horizontalHeader()
        header.setSectionResizeMode(_COLOR, QHeaderView.ResizeMode.Fixed)
        header.setSectionResizeMode(_NAME, QHeaderView.ResizeMode.Stretch)
        self.table.setColumnWidth(_COLOR, 28)
        self.table.itemChanged.connect(self._on_edited)
        self.table.currentCellChanged.connect(self._on_current)
        self.table.cellClicked.connect(self._on_clicked)

    def _on_edited(self, item: QTableWidgetItem) -> None:
        if item.column() == _NAME:
            label = self._organs[item.row()]
            self.rename(label.value, item.text().strip() or label.name)

    def _on_current(self, row: int, *_: int) -> None:
        if 0 <= row < len(self._organs):
            self.selected.emit(self._organs[row].value)

    def _on_clicked(self, row: int, column: int) -> None:
        if column == _COLOR:
            label = self._organs[row]
            color = QColorDialog.getColor(QColor(*label.color), self, f"Colour of {label.name}")
            if color.isValid():
                self.recolor(label.value, (color.red(), color.green(), color.blue()))
