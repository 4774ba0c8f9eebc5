"""The toolbox for refining a result: which tool, on what, with which settings. No behaviour but its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from napari.layers import Labels
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QComboBox, QFormLayout, QVBoxLayout, QWidget

from napari_medssl.edit import Operation, operations
from napari_medssl.edit.combine import Combine
from napari_medssl.edit.grow_range import GrowRange
from napari_medssl.edit.keep_range import KeepRange
from napari_medssl.labels import Label
from napari_medssl.widgets._choosers import LayerChooser
from napari_medssl.widgets._form import SettingsForm
from napari_medssl.widgets._layers import organs_of
from napari_medssl.widgets._layout import button, row, text
from napari_medssl.widgets._options import is_labels
from napari_medssl.widgets._work import WorkBar

if TYPE_CHECKING:
    from napari.components import ViewerModel

_FIRST_TOOL = "smooth"


class Toolbox(QWidget):
    """Tool, organ, slices, settings and the buttons.

    Signal `wants_window` asks for an intensity window to propose, when a tool that needs one comes into view or
    another organ is chosen.
    """

    wants_window = Signal()

    def __init__(self, viewer: ViewerModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.tool = QComboBox()
        self.forms: dict[str, SettingsForm[Operation]] = {}
        for name in operations:
            self.tool.addItem(operations[name].title, name)
            self.forms[name] = SettingsForm(operations[name]())
        self.hint = text()
        self.organ = QComboBox()
        self.where = QComboBox()
        self.where.addItems(["Whole volume", "This slice"])
        self.other = LayerChooser(viewer, is_labels, none="(this result)")
        self.partner = QComboBox()
        self.window_button = button("Window from organ", "The middle 90 % of the intensities the organ has now")
        self.overwrite = QCheckBox("May overwrite other organs")
        self.change_painted = QCheckBox("May change painted slices")
        self.apply_button = button("Apply", "Do it; Undo edit takes it back")
        self.undo_button = button("Undo edit", "Take back the last edit or brush stroke (Ctrl-Z on the result layer)")
        self.redo_button = button("Redo edit", "Do it again (Ctrl-Shift-Z on the result layer)")
        self.work = WorkBar()
        self._organs: tuple[Label, ...] = ()
        self._proposed: tuple[float, float] = (0.0, 0.0)
        self._arrange()
        for box in (self.organ, self.where, self.partner):
            box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            box.setMinimumContentsLength(8)
        self.tool.currentIndexChanged.connect(lambda _: self._on_tool())
        self.organ.currentIndexChanged.connect(lambda _: self._on_organ())
        self.other.chosen.connect(lambda _: self._list_partners())
        self.window_button.clicked.connect(lambda: self._ask_window())
        self.choose(_FIRST_TOOL)
        self.show_organs(())

    @property
    def name(self) -> str:
        """The tool in hand."""
        return str(self.tool.currentData())

    @property
    def organs(self) -> tuple[int, ...]:
        """Labels of the organs to work on."""
        value = self.organ.currentData()
        return tuple(label.value for label in self._organs) if value is None else (int(value),)

    @property
    def this_slice(self) -> bool:
        """Whether only the slice on show may change."""
        return self.where.currentIndex() == 1

    def choose(self, name: str) -> None:
        """Take a tool in hand."""
        self.tool.setCurrentIndex(self.tool.findData(name))
        self._on_tool()

    def read(self) -> Operation:
        """The tool with its settings. Raises SettingsError when one is outside its limits."""
        made = self.forms[self.name].read()
        if isinstance(made, Combine):
            value = self.partner.currentData()
            return dataclasses.replace(made, labels=() if value is None else (int(value),))
        return made

    def show_organs(self, organs: Sequence[Label]) -> None:
        """Offer these organs, keeping the choice where it is still there."""
        if tuple(organs) == self._organs and self.organ.count():
            return
        self._organs = tuple(organs)
        _list(self.organ, self._organs, everything="All organs")
        self._list_partners()

    def propose(self, window: tuple[float, float] | None) -> None:
        """Show an intensity window, unless the user has typed another."""
        form = self.forms[self.name]
        now = form.read()
        if window is None or not isinstance(now, (KeepRange, GrowRange)):
            return
        if (now.low, now.high) in ((0.0, 0.0), self._proposed):
            form.write(dataclasses.replace(now, low=round(window[0], 2), high=round(window[1], 2)))
            shown = form.read()
            assert isinstance(shown, (KeepRange, GrowRange))  # what was written
            self._proposed = (shown.low, shown.high)

    def enable(self, *, ready: bool, can_undo: bool, can_redo: bool) -> None:
        """Which buttons can be pressed."""
        self.apply_button.setEnabled(ready)
        self.undo_button.setEnabled(can_undo)
        self.redo_button.setEnabled(can_redo)

    def detach(self) -> None:
        """Stop work and listening; touches no Qt, so it may come after the widget's end."""
        self.other.detach()
        self.work.detach()

    def _arrange(self) -> None:
        what = QWidget()
        rows = QFormLayout(what)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.addRow("Tool", self.tool)
        rows.addRow("Organ", self.organ)
        rows.addRow("Slices", self.where)
        self._with = QWidget()
        partner = QFormLayout(self._with)
        partner.setContentsMargins(0, 0, 0, 0)
        partner.addRow("Other layer", self.other)
        partner.addRow("Other organ", self.partner)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for widget in (what, self.hint, *self.forms.values(), self.window_button, self._with):
            layout.addWidget(widget)
        for widget in (self.overwrite, self.change_painted, self.apply_button, self.work):
            layout.addWidget(widget)
        layout.addWidget(row(self.undo_button, self.redo_button))

    def _on_tool(self) -> None:
        kind = operations[self.name]
        self.hint.setText(kind.hint)
        for name, form in self.forms.items():
            form.setVisible(name == self.name)
        self.window_button.setVisible(kind.needs_image)
        self._with.setVisible(kind.takes_other)
        if kind.needs_image:
            self.wants_window.emit()

    def _on_organ(self) -> None:
        self._list_partners()
        if operations[self.name].needs_image:
            self.wants_window.emit()

    def _ask_window(self) -> None:
        self._proposed = (0.0, 0.0)
        form = self.forms[self.name]
        now = form.read()
        if isinstance(now, (KeepRange, GrowRange)):
            form.write(dataclasses.replace(now, low=0.0, high=0.0))
        self.wants_window.emit()

    def _list_partners(self) -> None:
        """Offer the organs of the other layer; of this result, those that are not worked on."""
        layer = self.other.layer
        if isinstance(layer, Labels):
            _list(self.partner, organs_of(layer), everything="All of its organs")
        else:
            _list(self.partner, [label for label in self._organs if label.value not in self.organs[:1]])


def _list(box: QComboBox, organs: Sequence[Label], *, everything: str = "") -> None:
    """Fill a box with organs, keeping the choice; `everything` is a first entry with the value None."""
    wanted = box.currentData()
    blocked = box.blockSignals(True)
    box.clear()
    if everything:
        box.addItem(everything, None)
    for label in organs:
        box.addItem(label.name, label.value)
    box.setCurrentIndex(max(0, box.findData(wanted)) if box.count() else -1)
    box.blockSignals(blocked)
