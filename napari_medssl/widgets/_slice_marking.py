"""The marking side of the slice classification: classes, keys, marks of slices, undo."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Image, Labels
from qtpy.QtCore import QObject, Qt, Signal
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import QShortcut, QWidget

from napari_medssl.errors import MedSSLError
from napari_medssl.widgets._class_list import MOST
from napari_medssl.widgets._layers import organs_of
from napari_medssl.widgets._mark_book import MarkBook
from napari_medssl.widgets._notify import tell, tell_error
from napari_medssl.widgets._scan import scan_of
from napari_medssl.widgets._slice_marks import Marked, color_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.components import ViewerModel

    from napari_medssl.widgets._classify_panel import ClassifyPanel

FIRST_CLASS = "finding"


def is_usable(layer: Image) -> bool:
    """Whether slices of a layer can be marked and scored."""
    try:
        scan_of(layer)
    except MedSSLError:
        return False
    return True


class Marking(QObject):
    """Keeps classes, keys and marks of the chosen scan in step. Signal `changed`: marks or classes are others now.

    book: the marks of all scans.
    """

    changed = Signal()

    def __init__(self, viewer: ViewerModel, panel: ClassifyPanel, parent: QWidget) -> None:
        super().__init__(parent)
        self._viewer, self._panel = viewer, panel
        self.image: Image | None = None
        self.book = MarkBook(viewer, self)
        self._shortcuts = self._make_shortcuts(parent)
        panel.classes.show_names((FIRST_CLASS,))
        self._connect()

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes in the order of their keys."""
        return self._panel.classes.names

    @property
    def several(self) -> bool:
        """Whether a slice can show several classes."""
        return self._panel.several.isChecked()

    def current_slice(self) -> int:
        """The slice on show, in the scan's own count; 0 without a scan."""
        if self.image is None or not is_usable(self.image):
            return 0
        z = round(float(self.image.world_to_data(self._viewer.dims.point[-3:])[0]))
        return max(0, min(int(self.image.data.shape[0]) - 1, z))

    def aim(self, image: Image | None) -> None:
        """Mark this scan; marks that were saved as a layer and opened again become its own, when it has none."""
        self.image = image
        self.take_saved()
        self.refresh()

    def take_saved(self) -> None:
        """Take over saved marks that lie in the viewer, and list the classes that they name."""
        if self.image is None:
            return
        self.book.adopt_saved(self.image)
        self.list_classes([name for shown in self.book.of(self.image).values() for name in shown])

    def list_classes(self, names: Sequence[str]) -> None:
        """Add classes that are not listed; the first one, if nobody used it, makes room."""
        new = [name for name in dict.fromkeys(names) if name not in self.classes]
        if new:
            kept = () if self.classes == (FIRST_CLASS,) and not self._used(FIRST_CLASS) else self.classes
            self._panel.classes.show_names((*kept, *new))

    def mark(self, name: str) -> bool:
        """Say that the slice on show has a class; said again, take it back. False, with a sentence, if it cannot be."""
        image = self._to_mark()
        if image is None:
            return False
        z, marked = self.current_slice(), self.book.of(image)
        now = marked.get(z, ())
        others = tuple(n for n in now if n != name) if self.several else ()
        names = others if name in now else (*others, name)
        self._change(image, _with(marked, z, names or None), f"slice {z}: {name}")
        return True

    def mark_nothing(self) -> bool:
        """Say that the slice on show has none of the classes. False, with a sentence, when it cannot be said."""
        image = self._to_mark()
        if image is None:
            return False
        if not self.several:
            tell("Here every slice shows exactly one class: add a class for slices without a finding, or tick "
                 "'A slice can show several'.")  # fmt: skip
            return False
        z = self.current_slice()
        self._change(image, _with(self.book.of(image), z, ()), f"slice {z}: none of these")
        return True

    def unmark(self) -> None:
        """Say nothing of the slice on show."""
        if self.image is not None:
            z = self.current_slice()
            self._change(self.image, _with(self.book.of(self.image), z, None), f"slice {z}: unmarked")

    def mark_from_labels(self) -> bool:
        """Mark slices by the organs that the chosen labels show on them. False, with a sentence, when it cannot be."""
        image, layer = self._to_mark(), self._panel.labels.layer
        if image is None:
            return False
        if not isinstance(layer, Labels) or layer.data.shape != image.data.shape:
            tell("Choose labels that were made on this scan first.")
            return False
        data = np.asarray(layer.data)
        names = {organ.value: organ.name for organ in organs_of(layer)}
        there = [int(v) for v in np.unique(data) if v]
        self.list_classes([names[v] for v in there])
        left_out = [names[v] for v in there if names[v] not in self.classes]
        if left_out:
            tell(f"There are {MOST} classes at most; not marked: {', '.join(left_out)}.")
        found = dict(self.book.of(image))
        for z in range(0, len(data), self._panel.every.value()):
            found[z] = tuple(n for v in np.unique(data[z]) if v and (n := names[int(v)]) in self.classes)
        self._change(image, found, f"from {layer.name}")
        return True

    def refresh(self) -> None:
        """Bring counts, buttons and the marks below the curve in step."""
        panel, marked = self._panel, self.book.of(self.image)
        panel.classes.show_counts({name: sum(name in shown for shown in marked.values()) for name in self.classes})
        panel.undo_button.setEnabled(self.book.can_undo)
        panel.redo_button.setEnabled(self.book.can_redo)
        panel.nothing_button.setEnabled(self.several)
        colors = self.colors
        panel.curve.show_marks({z: [colors[n] for n in shown if n in colors] for z, shown in marked.items()})
        self.tell_slice()

    @property
    def colors(self) -> dict[str, tuple[int, int, int]]:
        """RGB bytes of the listed classes."""
        return {name: color_of(i) for i, name in enumerate(self.classes)}

    def tell_slice(self) -> None:
        """Say what is marked on the slice on show."""
        if self.image is None or not is_usable(self.image):
            self._panel.slice_text.setText("No scan is open: open a CT or MR.")
            return
        z, marked = self.current_slice(), self.book.of(self.image)
        said = "not marked" if z not in marked else (", ".join(marked[z]) or "none of these")
        self._panel.slice_text.setText(f"Slice {z}: {said} · {len(marked)} marked in this scan")

    def detach(self) -> None:
        """Stop listening to layers; touches no Qt, so it may come after the widget's end."""
        self.book.detach()

    def _make_shortcuts(self, parent: QWidget) -> list[QShortcut]:
        made = []
        for digit in range(MOST + 1):
            # The window's, not the layer's: there the digits choose tools, and each kind of layer has its own.
            shortcut = QShortcut(QKeySequence(str(digit)), parent)
            shortcut.setContext(Qt.ShortcutContext.WindowShortcut)
            shortcut.activated.connect(lambda d=digit: self._on_key(d))
            made.append(shortcut)
        return made

    def _connect(self) -> None:
        panel = self._panel
        panel.classes.pressed.connect(self.mark)
        panel.classes.renamed.connect(self._on_renamed)
        panel.classes.changed.connect(self._on_classes)
        panel.add_button.clicked.connect(lambda: panel.classes.add())
        panel.remove_button.clicked.connect(lambda: self._remove_class())
        panel.several.toggled.connect(lambda _: self.refresh())
        panel.keys.toggled.connect(self._on_keys)
        panel.nothing_button.clicked.connect(lambda: self.mark_nothing())
        panel.clear_button.clicked.connect(lambda: self.unmark())
        panel.undo_button.clicked.connect(lambda: self.book.undo(self.classes))
        panel.redo_button.clicked.connect(lambda: self.book.redo(self.classes))
        panel.labels_button.clicked.connect(lambda: self.mark_from_labels())
        self.book.changed.connect(self._on_marks)

    def _images(self) -> list[Image]:
        return [layer for layer in self._viewer.layers if isinstance(layer, Image) and self.book.has_layer(layer)]

    def _used(self, name: str) -> bool:
        return any(name in shown for image in self._images() for shown in self.book.of(image).values())

    def _to_mark(self) -> Image | None:
        try:
            scan_of(self.image)
        except MedSSLError as error:
            tell_error(error, "Marking")
            return None
        if not self.classes:
            tell("There is no class yet; press Add class first.")
            return None
        return self.image

    def _change(self, image: Image, marked: Marked, text: str) -> None:
        self.book.change(image, marked, self.classes, text=text)

    def _on_key(self, digit: int) -> None:
        if digit == 0:
            self.mark_nothing()
        elif digit <= len(self.classes):
            self.mark(self.classes[digit - 1])
        else:
            tell(f"There is no class for the key {digit}; press Add class first.")

    def _on_keys(self, on: bool) -> None:
        for shortcut in self._shortcuts:
            shortcut.setEnabled(on)

    def _remove_class(self) -> None:
        name = self._panel.classes.remove()
        if not name:
            tell("Choose the class to remove in the list first.")
            return
        for image in self._images():
            # A slice that showed this class alone says nothing now; of "none of these" nobody spoke.
            kept = {z: shown for z, shown in self.book.of(image).items() if shown != (name,)}
            left = {z: tuple(n for n in shown if n != name) for z, shown in kept.items()}
            self._change(image, left, f"without {name}")

    def _on_renamed(self, old: str, new: str) -> None:
        self.book.rename(self._images(), old, new, self.classes)
        self.changed.emit()

    def _on_classes(self) -> None:
        self.book.repaint(self._images(), self.classes)
        self.refresh()
        self.changed.emit()

    def _on_marks(self) -> None:
        self.refresh()
        self.changed.emit()


def _with(marked: Marked, z: int, names: tuple[str, ...] | None) -> Marked:
    """The marks with slice `z` showing these classes; None takes its mark away."""
    others = {place: shown for place, shown in marked.items() if place != z}
    return others if names is None else dict(sorted({**others, z: names}.items()))
