"""The look of "Explore features": the scan and its features above, one of six pages below. No behaviour."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QButtonGroup,
    QComboBox,
    QFormLayout,
    QGridLayout,
    QLineEdit,
    QMenu,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_medssl.widgets._choosers import LayerChooser
from napari_medssl.widgets._engine import DEVICES
from napari_medssl.widgets._form import SettingsForm, folded
from napari_medssl.widgets._layout import NOTICE, button, fill_scrolling, group, prominent, row, text
from napari_medssl.widgets._options import is_scan
from napari_medssl.widgets._work import WorkBar

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_medssl.dense.settings import ExtractSettings

DEFAULT, SLICES, FILE = "default3d", "slices", "file"
# The slice encoder first: a click shows its organ better by it (docs/methods/exploring.md has both).
_WEIGHTS = {"Slice encoder (default)": SLICES, "3D encoder": DEFAULT, "File…": FILE}
_COLUMNS = 3


class ExplorePanel(QWidget):
    """Controls of the features. `show_pages` puts the pages below them."""

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self.image = LayerChooser(viewer, is_scan)
        self.image.setToolTip("The scan to explore")
        self.weights = QComboBox()
        self.weights.setToolTip("The network whose features are shown; File: a bundle of weights, or a pretraining run")
        self.weights.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        for name, value in _WEIGHTS.items():
            self.weights.addItem(name, value)
        self.extract_button = button("Extract 3D features", "Describe every place of the scan; done once, then kept")
        self.work = WorkBar()
        self.status = text()
        self.form: SettingsForm[ExtractSettings] | None = None
        self.form_place = QWidget()
        self.stages = QLineEdit()
        self.stages.setPlaceholderText("of the weights' card")
        self.stages.setToolTip("Stages of the network whose features are joined, 1 the finest, such as 2 3")
        self.device = QComboBox()
        self.device.addItems(DEVICES)
        self.save_button = button("Save…", "Keep the features as .zarr or .npz")
        self.open_button = button("Open", "Features of this scan that were saved before")
        menu = QMenu(self.open_button)
        self.open_file = menu.addAction("NPZ file…")
        self.open_folder = menu.addAction("Zarr folder…")
        self.open_button.setMenu(menu)
        self.pages = Pages()
        self._arrange()
        self.work.running_changed.connect(self._show_work)
        self.work.hide()

    def show_form(self, settings: ExtractSettings) -> None:
        """Offer the settings of extraction, once they are loaded."""
        self.form = SettingsForm(settings)
        layout = self.form_place.layout()
        assert layout is not None
        layout.addWidget(self.form)

    def detach(self) -> None:
        """Stop work and listening; touches no Qt, so it may come after the widget's end."""
        self.image.detach()
        self.work.detach()

    def _show_work(self, running: bool) -> None:
        """The bar shows while it works, or has to say why it failed; its room closes with it."""
        self.work.setVisible(running or bool(self.work.label.text()))
        box = self.work.parentWidget()
        layout = box.layout() if box is not None else None
        if box is not None and layout is not None:
            layout.invalidate()
            box.updateGeometry()

    def _arrange(self) -> None:
        content = QWidget()
        column = QVBoxLayout(content)
        prominent(self.extract_button)
        QVBoxLayout(self.form_place).setContentsMargins(0, 0, 0, 0)
        files = row(self.save_button, self.open_button)
        column.addWidget(
            group(
                "1 · Features", self.image, self.weights, self.extract_button, self.work, self.status, files,
                folded("Settings", self._settings()),
            )
        )  # fmt: skip
        column.addWidget(group("2 · Explore", self.pages))
        column.addWidget(text(NOTICE))
        column.addStretch()
        fill_scrolling(self, content)

    def _settings(self) -> QWidget:
        box = QWidget()
        rows = QFormLayout(box)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.addRow("Device", self.device)
        rows.addRow("Stages", self.stages)
        rows.addRow(self.form_place)
        return box


class Pages(QWidget):
    """Pages behind a block of buttons: six tabs beside each other would be wider than a dock.

    Only the page on show takes room. Signal `turned` carries its number.
    """

    turned = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self._pages: list[QWidget] = []
        self.buttons: list[QPushButton] = []
        self._group = QButtonGroup(self)
        self._group.setExclusive(True)
        self._grid = QGridLayout()
        self._grid.setSpacing(2)
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.addLayout(self._grid)
        self._group.idClicked.connect(self.turn)

    @property
    def current(self) -> int:
        """The number of the page on show."""
        return self._group.checkedId()

    def add(self, title: str, tip: str, page: QWidget) -> None:
        """One more page; the first is shown."""
        number = len(self._pages)
        choice = button(title, tip)
        choice.setCheckable(True)
        self._group.addButton(choice, number)
        self._grid.addWidget(choice, number // _COLUMNS, number % _COLUMNS)
        self._column.addWidget(page)
        self._pages.append(page)
        self.buttons.append(choice)
        page.setVisible(number == 0)
        choice.setChecked(number == 0)

    def turn(self, number: int) -> None:
        """Show a page."""
        self.buttons[number].setChecked(True)
        for at, page in enumerate(self._pages):
            page.setVisible(at == number)
        self.turned.emit(number)
