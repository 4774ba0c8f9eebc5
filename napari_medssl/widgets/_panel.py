"""The look of the segmentation widget: which controls there are and where. No behaviour."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFormLayout,
    QVBoxLayout,
    QWidget,
)

from napari_medssl.oneshot.settings import SegmentSettings
from napari_medssl.widgets._choosers import LayerChooser
from napari_medssl.widgets._engine import DEVICES
from napari_medssl.widgets._form import SettingsForm, folded
from napari_medssl.widgets._layout import NOTICE, button, fill_scrolling, group, prominent, row, text
from napari_medssl.widgets._library import LibraryRow
from napari_medssl.widgets._options import OtherScan, SliceRange, is_scan, is_truth
from napari_medssl.widgets._organs import OrganList
from napari_medssl.widgets._table import ResultTable
from napari_medssl.widgets._toolbox import Toolbox
from napari_medssl.widgets._tools import SupportTools
from napari_medssl.widgets._work import WorkBar

if TYPE_CHECKING:
    from napari.components import ViewerModel


class SegmentPanel(QWidget):
    """Four steps from top to bottom: scan, organs, segment, result."""

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self.image = LayerChooser(viewer, is_scan)
        self.summary = text()
        self.organs = OrganList()
        self.tools = SupportTools(viewer)
        self.support_text = text()
        self.take_button = button(
            "Correct this slice", "Copy the result of the slice on show into the support, ready for the brush"
        )
        self.source = LayerChooser(viewer, is_truth, none="(none)")
        self.use_button = button("Use this slice", "Copy the slice on show from these labels into the support")
        self.other = OtherScan(viewer)
        self.range = SliceRange()
        self.form: SettingsForm[SegmentSettings] = SettingsForm(SegmentSettings())
        self.device = QComboBox()
        self.device.addItems(DEVICES)
        self.segment_button = button("Segment", "Find the labelled organs in the whole scan")
        self.live = QCheckBox("Update while I paint")
        self.probability = QCheckBox("Probability layers")
        self.confidence = QCheckBox("Confidence layer")
        self.library = LibraryRow()
        self.work = WorkBar()
        self.table = ResultTable()
        self.undo_button = button("Undo run", "Show the result before this one")
        self.redo_button = button("Redo run", "Show the result after this one")
        self.toolbox = Toolbox(viewer)
        self.spread_button = button(
            "Spread strokes",
            "Let what you painted or wiped on the result change its neighbourhood; it stays as painted",
        )
        self.suggest_button = button("Suggest next slice", "Go to the slice whose label would help most, and say why")
        self.absent_button = button(
            "Not on this slice", "Say that the selected organ is not on the slice on show, or take it back"
        )
        self.suggestion = text()
        self.truth = LayerChooser(viewer, is_truth, none="(no truth)")
        self.export_button = button("Export…", "Save the result on the scan's own grid")
        self._arrange()

    def detach(self) -> None:
        """Stop work and listening; touches no Qt, so it may come after the widget's end."""
        for chooser in (self.image, self.source, self.truth, self.other.image, self.other.labels):
            chooser.detach()
        self.tools.detach()
        self.toolbox.detach()
        self.work.detach()

    def _arrange(self) -> None:
        content = QWidget()
        column = QVBoxLayout(content)
        column.addWidget(group("1 · Scan", self.image, self.summary))
        column.addWidget(
            group(
                "2 · Label one slice",
                self.organs,
                self.tools,
                self.support_text,
                folded("From existing labels", self._existing()),
            )
        )
        column.addWidget(
            group(
                "3 · Segment",
                prominent(self.segment_button),
                self.work,
                self._switches(),
                folded("Library of examples", self.library),
                folded("Advanced settings", self._advanced()),
            )
        )
        truth = QWidget()
        truth_row = QFormLayout(truth)
        truth_row.setContentsMargins(0, 0, 0, 0)
        truth_row.addRow("Compare with", self.truth)
        buttons = row(self.take_button, self.undo_button, self.redo_button, self.export_button)
        more = row(self.spread_button, self.suggest_button, self.absent_button)
        column.addWidget(
            group(
                "4 · Check and correct",
                self.table,
                buttons,
                more,
                self.suggestion,
                folded("Refine", self.toolbox),
                truth,
            )
        )
        column.addWidget(text(NOTICE))
        column.addStretch()
        fill_scrolling(self, content)

    def _switches(self) -> QWidget:
        return row(self.live, self.probability, self.confidence)

    def _existing(self) -> QWidget:
        box = QWidget()
        rows = QFormLayout(box)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.addRow(text("Labels of this scan, slice by slice:"))
        rows.addRow(self.source, self.use_button)
        rows.addRow(text("A labelled other scan, as it is:"))
        rows.addRow(self.other)
        return box

    def _advanced(self) -> QWidget:
        box = QWidget()
        rows = QFormLayout(box)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.addRow(self.range)
        rows.addRow("Device", self.device)
        rows.addRow(self.form)
        return box
