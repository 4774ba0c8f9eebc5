"""The table of results: size, extent and Dice of every organ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem, QWidget

from napari_medssl.labels import Label
from napari_medssl.oneshot.result import recognised_as
from napari_medssl.progress import Steps
from napari_medssl.widgets._results import OrganRow, organ_rows
from napari_medssl.widgets._work import Job

_HEADERS = ("Organ", "ml", "Voxels", "First", "Last", "Dice")
_FIRST, _LAST, _DICE = 3, 4, 5


class ResultTable(QTableWidget):
    """Rows are counted in a thread, so a large mask does not stop the window.

    Signals: `jump` with a slice when its number (or an organ) is clicked, `counted` with the rows once they show.
    """

    jump = Signal(int)
    counted = Signal(tuple)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(0, len(_HEADERS), parent)
        self._rows: tuple[OrganRow, ...] = ()
        self._known: dict[int, str] = {}
        self._job: Job[tuple[OrganRow, ...]] | None = None
        self.setHorizontalHeaderLabels(_HEADERS)
        self.setToolTip("Click a slice number to go there")
        self.verticalHeader().setVisible(False)
        self.verticalHeader().setDefaultSectionSize(24)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        header.setMinimumSectionSize(34)
        self.setColumnHidden(_DICE, True)
        self.cellClicked.connect(self._on_clicked)
        self._fit_height()

    @property
    def rows(self) -> tuple[OrganRow, ...]:
        """What is shown."""
        return self._rows

    def count(
        self, data: np.ndarray, organs: tuple[Label, ...], voxel_ml: float, truth: np.ndarray | None = None
    ) -> None:
        """Count the voxels of (Z, Y, X) labels and show them; a count still under way is given up."""
        self.stop()

        def steps() -> Steps[tuple[OrganRow, ...]]:
            yield from ()
            return organ_rows(data, organs, voxel_ml, truth)

        job: Job[tuple[OrganRow, ...]] = Job(steps)
        job.returned.connect(self.show_rows)
        self._job = job
        job.start()

    def tell_known(self, recognised: Mapping[str, Mapping[str, Any]]) -> None:
        """What the tooltips of names say from the next rows on: `recognised` of a segmentation's report."""
        self._known = {int(value): f"Recognised as {recognised_as(known)}" for value, known in recognised.items()}

    def stop(self) -> None:
        """Give up a count under way."""
        if self._job is not None:
            self._job.cancel()

    def show_rows(self, rows: Sequence[OrganRow]) -> None:
        """Show other rows."""
        self._rows = tuple(rows)
        self.setRowCount(len(self._rows))
        self.setColumnHidden(_DICE, all(row.dice is None for row in self._rows))
        for at, row in enumerate(self._rows):
            for column, text in enumerate(_texts(row)):
                self.setItem(at, column, _item(text, row.label if column == 0 else None))
            name = self.item(at, 0)
            if name is not None:
                name.setToolTip(self._known.get(row.label.value, ""))
        self._fit_height()
        self.counted.emit(self._rows)

    def _fit_height(self) -> None:
        self.setFixedHeight(self.horizontalHeader().sizeHint().height() + 24 * max(2, min(8, len(self._rows))) + 6)

    def _on_clicked(self, at: int, column: int) -> None:
        row = self._rows[at]
        target = row.last if column == _LAST else row.first
        if target is not None and column in (0, _FIRST, _LAST):
            self.jump.emit(target)


def _texts(row: OrganRow) -> tuple[str, ...]:
    first, last = ("–" if z is None else str(z) for z in (row.first, row.last))
    dice = "" if row.dice is None else f"{row.dice:.3f}"
    return row.label.name, f"{row.volume_ml:.1f}", str(row.voxels), first, last, dice


def _item(text: str, label: Label | None) -> QTableWidgetItem:
    item = QTableWidgetItem(text)
    if label is None:
        item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
    else:
        swatch = QPixmap(12, 12)
        swatch.fill(QColor(*label.color))
        item.setIcon(QIcon(swatch))
    return item
