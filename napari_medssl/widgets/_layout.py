"""How the dock widgets are laid out: numbered boxes in a column that scrolls."""

from __future__ import annotations

from qtpy.QtWidgets import QGroupBox, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_medssl.widgets._scroll import FittingScroll

NOTICE = "For research only, not for diagnosis."


def fill_scrolling(dock: QWidget, content: QWidget) -> None:
    """Put `content` into the empty widget `dock`. It scrolls up and down only; the dock is never too narrow for it."""
    outer = QVBoxLayout(dock)
    outer.setContentsMargins(0, 0, 0, 0)
    outer.addWidget(FittingScroll(content))


def group(title: str, *widgets: QWidget) -> QGroupBox:
    """A titled box with the widgets below each other."""
    box = QGroupBox(title)
    layout = QVBoxLayout(box)
    layout.setContentsMargins(6, 6, 6, 6)
    layout.setSpacing(6)
    for widget in widgets:
        layout.addWidget(widget)
    return box


def row(*widgets: QWidget) -> QWidget:
    """The widgets beside each other, without margins."""
    box = QWidget()
    layout = QHBoxLayout(box)
    layout.setContentsMargins(0, 0, 0, 0)
    for widget in widgets:
        layout.addWidget(widget)
    return box


def text(words: str = "") -> QLabel:
    """A label that wraps its lines."""
    label = QLabel(words)
    label.setWordWrap(True)
    return label


def prominent(made: QPushButton) -> QPushButton:
    """The button, bold and high: the one that does the dock's main work."""
    font = made.font()
    font.setBold(True)
    made.setFont(font)
    made.setMinimumHeight(32)
    return made


def button(words: str, tip: str) -> QPushButton:
    """A button with its tooltip."""
    made = QPushButton(words)
    made.setToolTip(tip)
    return made
