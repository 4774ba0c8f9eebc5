"""The library in the segmentation widget: what is labelled becomes examples, a library segments the scan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from qtpy.QtWidgets import (
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLineEdit,
    QVBoxLayout,
    QWidget,
)

from napari_medssl.labels import Label
from napari_medssl.library.file import SUFFIX
from napari_medssl.oneshot.result import Segmentation
from napari_medssl.oneshot.scribbles import with_corrections
from napari_medssl.oneshot.stroke import Stroke
from napari_medssl.oneshot.support import Support
from napari_medssl.progress import Progress, Steps
from napari_medssl.widgets._engine import EngineHandle
from napari_medssl.widgets._layout import button, text
from napari_medssl.widgets._request import Example, corrections_of
from napari_medssl.widgets._scan import Scan

if TYPE_CHECKING:
    from napari_medssl.library.apply import Segmenter

_FILTER = f"Support library (*{SUFFIX})"
_KEEP = {
    "Labelled slices, and an overview of the rest": "slices",
    "Only the organs' surroundings, and an overview": "crop",
    "The whole scan": "whole",
}
_PRIVACY = (
    "The file gets voxels of this scan, but no file name and nothing else of its header. "
    "Type no patient's name, and treat the file as you treat the scan."
)


class LibraryRow(QWidget):
    """The two buttons."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.apply_button = button("Apply library…", "Segment this scan with the best-matching examples of a library")
        self.add_button = button("Add to library…", "Keep the labelled slices as examples for other scans")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.apply_button)
        layout.addWidget(self.add_button)


@dataclass(frozen=True)
class Wanted:
    """What the user chose about an addition; the texts may be empty."""

    path: Path
    name: str = ""
    note: str = ""
    licence: str = ""
    scanner: str = ""
    keep: str = "slices"


@dataclass(frozen=True, eq=False)
class AddRequest:
    """One addition to a library file, made when it is not there."""

    example: Example
    wanted: Wanted

    def steps(self) -> Steps[tuple[str, ...]]:
        """Read, add, write; returns sentences on what was added where."""
        from napari_medssl.library import KeepSettings, Library
        from napari_medssl.library.adding import Facts, add_examples
        from napari_medssl.settings import from_dict

        wanted = self.wanted
        yield Progress(0, 0, f"Adding to {wanted.path.name}")
        library = Library.load(wanted.path) if wanted.path.exists() else Library()
        support = Support(self.example.scan.volume(), self.example.mask, self.example.labels)
        facts = Facts(wanted.name, wanted.note, wanted.licence, wanted.scanner)
        keep = from_dict(KeepSettings, {"what": wanted.keep})
        added = add_examples(library.examples, support, facts=facts, keep=keep)
        library.with_examples(added.examples).save(wanted.path)
        names = ", ".join(e.name for e in added.new)
        return (f"Added {names} to {wanted.path.name}, which now has {len(added.examples)}", *added.notes)


@dataclass(frozen=True, eq=False)
class ApplyRequest:
    """One segmentation of a scan with a library.

    slice_range: half-open, None for all slices. strokes, absent: corrections of the scan, see `Support`.
    """

    query: Scan
    path: Path
    slice_range: tuple[int, int] | None
    settings: Any
    strokes: tuple[Stroke, ...] = ()
    absent: Mapping[int, tuple[int, ...]] = field(default_factory=dict)

    def steps(self, handle: EngineHandle) -> Steps[Segmentation]:
        """Read the library, load what is not loaded yet, pick examples and segment."""
        from napari_medssl.library import Library

        yield Progress(0, 0, f"Reading {self.path.name}")
        library = Library.load(self.path)
        yield Progress(0, 0, "Loading the model")
        engine = cast("Segmenter", handle.get())  # the widget's own protocol names what its other runs need
        yield Progress(0, 0, "Reading the scan")
        query = self.query.volume()
        result = yield from library.apply_steps(engine, query, slice_range=self.slice_range, settings=self.settings)
        said = corrections_of(query, self.strokes, self.absent)
        return with_corrections(query, result, said, settings=self.settings)


def examples_used(result: Segmentation) -> str:
    """A sentence on what a result was made with."""
    used = [e["name"] for e in result.report["library"]["examples"] if e["used"]]
    return f"Segmented with the examples {', '.join(used)}" if len(used) > 1 else f"Segmented with {used[0]}"


def ask_library(parent: QWidget, folder: str) -> Path | None:
    """Ask which library to apply; None when the user changed their mind."""
    chosen, _ = QFileDialog.getOpenFileName(parent, "Apply a library", folder, _FILTER)
    return Path(chosen) if chosen else None


class AddDialog(QDialog):
    """Asks for the file and what to say about the examples."""

    def __init__(self, organs: tuple[Label, ...], suggested: Path, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Add to library")
        self.path = QLineEdit(str(suggested))
        self.browse = button("Browse…", "An existing library, or a name for a new one")
        self.name, self.note, self.licence, self.scanner = (QLineEdit() for _ in range(4))
        self.name.setPlaceholderText(f"counted: {organs[0].name} 1, 2, …" if organs else "")
        self.licence.setPlaceholderText("such as CC-BY-4.0")
        self.scanner.setPlaceholderText("such as 1.5 T")
        self.keep = QComboBox()
        for words, what in _KEEP.items():
            self.keep.addItem(words, what)
        self.buttons = QDialogButtonBox(
            QDialogButtonBox.StandardButton.Save | QDialogButtonBox.StandardButton.Cancel, parent=self
        )
        self.path.textChanged.connect(self._on_path)
        self.browse.clicked.connect(lambda: self._browse())
        self.buttons.accepted.connect(self.accept)
        self.buttons.rejected.connect(self.reject)
        self._arrange(organs)

    @property
    def wanted(self) -> Wanted:
        """What is in the form; the path gets the ending of libraries when it has none."""
        path = Path(self.path.text().strip()).expanduser()
        if path.suffix.lower() != SUFFIX:
            path = path.with_name(path.name + SUFFIX)
        name, note, licence, scanner = (e.text().strip() for e in (self.name, self.note, self.licence, self.scanner))
        return Wanted(path, name, note, licence, scanner, self.keep.currentData())

    def _arrange(self, organs: tuple[Label, ...]) -> None:
        file = QWidget()
        file_row = QHBoxLayout(file)
        file_row.setContentsMargins(0, 0, 0, 0)
        file_row.addWidget(self.path, 1)
        file_row.addWidget(self.browse)
        form = QFormLayout()
        form.addRow("Organs", text(", ".join(o.name for o in organs)))
        for words, entry in (
            ("Library", file), ("Name", self.name), ("Scanner", self.scanner), ("Licence", self.licence),
            ("Note", self.note), ("Keep", self.keep),
        ):  # fmt: skip
            form.addRow(words, entry)
        column = QVBoxLayout(self)
        column.addLayout(form)
        column.addWidget(text(_PRIVACY))
        column.addWidget(self.buttons)
        self.path.setMinimumWidth(320)

    def _on_path(self, words: str) -> None:
        self.buttons.button(QDialogButtonBox.StandardButton.Save).setEnabled(bool(Path(words.strip()).name))

    def _browse(self) -> None:
        # An existing library is added to, not replaced: the question whether to overwrite would be wrong.
        chosen, _ = QFileDialog.getSaveFileName(
            self, "Library", self.path.text(), _FILTER, options=QFileDialog.Option.DontConfirmOverwrite
        )
        if chosen:
            self.path.setText(chosen)


def ask_addition(organs: tuple[Label, ...], suggested: Path, parent: QWidget) -> Wanted | None:
    """Ask where to add and what to say; None when the user changed their mind."""
    dialog = AddDialog(organs, suggested, parent)
    answer = dialog.exec()
    wanted = dialog.wanted
    dialog.deleteLater()
    return wanted if answer == QDialog.DialogCode.Accepted else None
