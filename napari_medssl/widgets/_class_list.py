"""The list of classes a slice can show: names, colours, keys and how often each is marked."""

from __future__ import annotations

from collections.abc import Mapping

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem, QWidget

from napari_medssl.widgets._notify import tell
from napari_medssl.widgets._slice_marks import NOTHING, color_of

MOST = 9
"""Classes, as there are keys."""

_KEY, _NAME, _COUNT = range(3)


class ClassList(QTableWidget):
    """Names can be edited; a press on a key's cell marks the slice.

    Signals: `renamed` (old, new), `changed` after adding or removing, `pressed` with a name.
    """

    renamed = Signal(str, str)
    changed = Signal()
    pressed = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(0, 3, parent)
        self._names: list[str] = []
        self._filling = False
        self.setHorizontalHeaderLabels(("Key", "Class (double-click to rename)", "Slices"))
        self.verticalHeader().setVisible(False)
        self.verticalHeader().setDefaultSectionSize(24)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(_NAME, QHeaderView.ResizeMode.Stretch)
        self.itemChanged.connect(self._on_edited)
        self.cellClicked.connect(self._on_clicked)
        self._fit_height()

    @property
    def names(self) -> tuple[str, ...]:
        """The classes in the order of their keys."""
        return tuple(self._names)

    def show_names(self, names: tuple[str, ...]) -> None:
        """Show other classes."""
        self._names = list(names[:MOST])
        self._fill()
        self.changed.emit()

    def add(self, name: str = "") -> bool:
        """Add a class; False, with a sentence, when there are nine or it is there already."""
        if len(self._names) >= MOST:
            tell(f"There are {MOST} classes already, as many as there are keys; remove one first.")
            return False
        name = name or next(n for i in range(1, MOST + 2) if (n := f"class {i}") not in self._names)
        if name in self._names:
            return False
        self._names.append(name)
        self._fill()
        self.changed.emit()
        return True

    def remove(self) -> str:
        """Remove the chosen class; its name, or empty when none is chosen."""
        row = self.currentRow()
        if not 0 <= row < len(self._names):
            return ""
        name = self._names.pop(row)
        self._fill()
        self.changed.emit()
        return name

    def show_counts(self, counts: Mapping[str, int]) -> None:
        """Show how many slices show each class."""
        self._filling = True
        for row, name in enumerate(self._names):
            self.setItem(row, _COUNT, _fixed(str(counts.get(name, 0))))
        self._filling = False

    def _fill(self) -> None:
        self._filling = True
        self.setRowCount(len(self._names))
        for row, name in enumerate(self._names):
            swatch = QPixmap(12, 12)
            swatch.fill(QColor(*color_of(row)))
            key = _fixed(str(row + 1))
            key.setIcon(QIcon(swatch))
            key.setToolTip("Click here, or press this key over the image, to mark the slice on show")
            self.setItem(row, _KEY, key)
            self.setItem(row, _NAME, QTableWidgetItem(name))
            self.setItem(row, _COUNT, _fixed("0"))
        self._filling = False
        self._fit_height()

    def _on_edited(self, item: QTableWidgetItem) -> None:
        if self._filling or item.column() != _NAME:
            return
        old, new = self._names[item.row()], item.text().strip()
        if new == old:
            return
        if not new or new in self._names or new == NOTHING:
            tell("Give each class a name of its own.")
            self._filling = True
            item.setText(old)
            self._filling = False
            return
        self._names[item.row()] = new
        self.renamed.emit(old, new)

    def _on_clicked(self, row: int, column: int) -> None:
        if column == _KEY:
            self.pressed.emit(self._names[row])

    def _fit_height(self) -> None:
        self.setFixedHeight(self.horizontalHeader().sizeHint().height() + 24 * max(2, len(self._names)) + 6)


def _fixed(text: str) -> QTableWidgetItem:
    item = QTableWidgetItem(text)
    item.setFlags(item.flags() & ~Qt.ItemFlag.ItemIsEditable)
    return item
