"""Smaller parts of the segmentation widget: an example from another scan, and a range of slices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.layers import Image, Labels, Layer
from qtpy.QtWidgets import QCheckBox, QFormLayout, QHBoxLayout, QLabel, QSpinBox, QWidget

from napari_medssl.errors import SettingsError, SupportError
from napari_medssl.volume import SoftRange
from napari_medssl.widgets._choosers import LayerChooser
from napari_medssl.widgets._layers import role_of

if TYPE_CHECKING:
    from napari.components import ViewerModel


def is_scan(layer: Layer) -> bool:
    """Images the user opened; not our own probability maps."""
    return isinstance(layer, Image) and role_of(layer)[0] == ""


def is_labels(layer: Layer) -> bool:
    """Any Labels layer."""
    return isinstance(layer, Labels)


def is_truth(layer: Layer) -> bool:
    """Labels the plugin did not make."""
    return isinstance(layer, Labels) and role_of(layer)[0] == ""


class OtherScan(QWidget):
    """Chooses a labelled other scan as example."""

    def __init__(self, viewer: ViewerModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.image = LayerChooser(viewer, is_scan, none="(none)")
        self.labels = LayerChooser(viewer, is_labels, none="(none)")
        layout = QFormLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addRow("Scan", self.image)
        layout.addRow("Its labels", self.labels)

    def value(self) -> tuple[Image, Labels] | None:
        """The pair, or None when neither is chosen. Raises SupportError when one is missing."""
        image, labels = self.image.layer, self.labels.layer
        if image is None and labels is None:
            return None
        if isinstance(image, Image) and isinstance(labels, Labels):
            return image, labels
        missing = "scan" if image is None else "labels"
        raise SupportError(f"the example from another scan has no {missing}; choose both, or set both to (none)")


class SliceRange(QWidget):
    """An optional first and last slice, both included as people count; exact, or with the organ somewhere between."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.only = QCheckBox("Only slices")
        self.first, self.last = QSpinBox(), QSpinBox()
        self.about = QCheckBox("about")
        self.about.setToolTip(
            "The organs lie somewhere between these slices.\n"
            "Off: organs of another scan are taken to begin with the first and end with the last."
        )
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for widget in (self.only, self.first, QLabel("to"), self.last, self.about):
            layout.addWidget(widget)
        layout.addStretch()
        self.only.toggled.connect(self._enable)
        self._enable(False)

    def set_depth(self, n: int) -> None:
        """Offer slices 0 to n - 1; a range chosen for another scan is dropped."""
        top = max(0, n - 1)
        self.only.setChecked(False)
        self.about.setChecked(False)
        for box, value in ((self.first, 0), (self.last, top)):
            box.setRange(0, top)
            box.setValue(value)

    def choose(self, low: int, high: int, *, about: bool = False) -> None:
        """Choose the half-open range of slices `low` to `high`, which organs fill unless it is only about them."""
        self.first.setValue(low)
        self.last.setValue(high - 1)
        self.about.setChecked(about)
        self.only.setChecked(True)

    def value(self) -> tuple[int, int] | None:
        """Half-open, a `SoftRange` when only about; None for all slices. Raises SettingsError when it is empty."""
        if not self.only.isChecked():
            return None
        first, last = self.first.value(), self.last.value()
        if first > last:
            raise SettingsError(f"the range of slices is empty ({first} to {last}); the first must not exceed the last")
        return SoftRange(first, last + 1) if self.about.isChecked() else (first, last + 1)

    def _enable(self, on: bool) -> None:
        self.first.setEnabled(on)
        self.last.setEnabled(on)
        self.about.setEnabled(on)
