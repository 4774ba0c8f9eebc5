"""The page "Similar scans": index a folder, then see which of its scans are most like the one that is open."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QFileDialog, QFormLayout, QLineEdit, QSpinBox, QVBoxLayout, QWidget

from napari_medssl.errors import FormatError, MedSSLError
from napari_medssl.widgets._layout import button, row, text
from napari_medssl.widgets._notify import tell_error
from napari_medssl.widgets._plain_table import PlainTable
from napari_medssl.widgets._scan_search import INDEX_NAME, Indexed, index_folder_steps, path_of, query_steps

if TYPE_CHECKING:
    from napari_medssl.explore.search import Match
    from napari_medssl.widgets._explore_desk import Desk
    from napari_medssl.widgets._features import Features

_DOING = "The search"


class ScansPage(QWidget):
    """how: weights and settings as the form above has them. matches: what the table shows."""

    def __init__(self, desk: Desk, how: Callable[[], tuple[str, Any]]) -> None:
        super().__init__()
        self.desk = desk
        self._how = how
        self.matches: list[Match] = []
        self.folder = QLineEdit()
        self.folder.setPlaceholderText("folder of scans")
        self.folder_button = button("…", "Choose the folder")
        self.file = QLineEdit()
        self.file.setPlaceholderText(f"{INDEX_NAME} in the folder")
        self.file.setToolTip("Where the index is kept; needed when the folder cannot be written to")
        self.count = QSpinBox()
        self.count.setRange(1, 100)
        self.count.setValue(8)
        self.index_button = button("Index folder", "Describe each scan of the folder; goes on where it was stopped")
        self.find_button = button("Find similar", "The scans of the folder most like the chosen one")
        self.table = PlainTable(("Scan", "Likeness"), tip="Double-click a scan to open it")
        self.text = text("Likeness ranks the scans of this folder; it has no meaning beyond it.")
        self._arrange()
        self.folder_button.clicked.connect(self._choose_folder)
        self.index_button.clicked.connect(lambda: self.index_folder())
        self.find_button.clicked.connect(lambda: self.find_similar())
        self.table.opened.connect(self.open_scan)

    def index_folder(self) -> bool:
        """Index the folder. False, with a sentence, when it cannot start."""
        try:
            folder, file = self._places()
            weights, settings = self._how()
        except MedSSLError as error:
            tell_error(error, _DOING)
            return False
        return self.desk.run(
            lambda: index_folder_steps(folder, file, self.desk.engine, weights=weights, settings=settings),
            self._on_indexed,
            doing="Indexing",
        )

    def find_similar(self) -> bool:
        """Ask the index. False, with a sentence, when it cannot start."""
        try:
            _, file = self._places()
        except MedSSLError as error:
            tell_error(error, _DOING)
            return False
        count = self.count.value()
        return self.desk.run_on(lambda features: query_steps(file, features, count), self._show, doing=_DOING)

    def open_scan(self, at: int) -> None:
        """Open a scan of the list, as File > Open does."""
        if at >= len(self.matches):
            return
        path = path_of(self.matches[at].name, Path(self.folder.text()).expanduser())
        if not path.exists():
            tell_error(FormatError(f"{path} is gone; index the folder it was moved to"), _DOING)
            return
        try:
            self.desk.viewer.open(str(path), plugin="napari-medssl")
        except MedSSLError as error:
            tell_error(error, "Opening the scan")

    def detach(self) -> None:
        """Nothing listens to the viewer."""

    def _places(self) -> tuple[Path, Path]:
        """Folder and index file. Raises FormatError when there is no such folder."""
        words = self.folder.text().strip()
        folder = Path(words).expanduser()
        if not words or not folder.is_dir():
            raise FormatError(f"{words or 'nothing'} is not a folder; choose a folder of scans with …")
        file = Path(self.file.text().strip()).expanduser() if self.file.text().strip() else folder / INDEX_NAME
        return folder, file if file.suffix == ".npz" else file.with_name(file.name + ".npz")

    def _on_indexed(self, indexed: Indexed) -> None:
        left = f" {len(indexed.left_out)} could not be read: {indexed.left_out[0]}." if indexed.left_out else ""
        self.text.setText(f"{len(indexed.index)} scans in the index, {indexed.added} of them new.{left}")
        self.text.setToolTip("\n".join(indexed.left_out))

    def _show(self, features: Features, matches: list[Match]) -> None:
        self.matches = matches
        self.table.show_rows([(match.name, f"{match.similarity:.2f}") for match in matches])
        self.text.setText(f"Most like {features.name} first. Likeness ranks the scans of this folder only.")

    def _choose_folder(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Folder of scans", self.folder.text())
        if path:
            self.folder.setText(path)

    def _arrange(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        rows = QFormLayout()
        rows.addRow("Folder", row(self.folder, self.folder_button))
        rows.addRow("Index", self.file)
        rows.addRow("Show", self.count)
        layout.addLayout(rows)
        layout.addWidget(row(self.index_button, self.find_button))
        layout.addWidget(self.table)
        layout.addWidget(self.text)
