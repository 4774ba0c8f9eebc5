"""A form made from a settings dataclass, and the settings read back from it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any, Generic, Literal, TypeVar, get_args, get_origin, get_type_hints

from magicgui.widgets import CheckBox, create_widget
from magicgui.widgets.bases import ValueWidget
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFormLayout, QLabel, QVBoxLayout, QWidget
from superqt import QCollapsible

from napari_medssl.settings import check

S = TypeVar("S")
_UNLIMITED = 10**6
_UNITS = {"_mm": "mm", "_ml": "ml", "_percent": "%"}


class SettingsForm(QWidget, Generic[S]):
    """Entries for every field a person can edit; advanced ones and each nested group are folded away.

    Fields of other types than numbers, choices, switches and text keep the value they had. Signal `changed` is
    emitted at every edit.
    """

    changed = Signal()

    def __init__(self, settings: S, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._start = settings
        self._entries: dict[str, ValueWidget[Any]] = {}
        self._shown: dict[str, Any] = {}
        self._nested: dict[str, SettingsForm[Any]] = {}
        self._plain = _rows()
        self._folded = _rows()
        for field in dataclasses.fields(settings):  # type: ignore[arg-type]
            self._add(field)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._plain)
        self.advanced = folded("More", self._folded)
        has_advanced = _layout(self._folded).rowCount() > 0
        self.advanced.setVisible(has_advanced)
        layout.addWidget(self.advanced)

    def read(self) -> S:
        """The settings as the form shows them. Raises SettingsError when one is outside its limits."""
        # A spin box rounds what it shows; a number nobody touched stays as exact as it was.
        values: dict[str, Any] = {
            name: entry.value for name, entry in self._entries.items() if entry.value != self._shown[name]
        }
        values |= {name: form.read() for name, form in self._nested.items()}
        made = dataclasses.replace(self._start, **values)  # type: ignore[type-var]
        check(made)
        return made

    def write(self, settings: S) -> None:
        """Show other settings of the same kind."""
        self._start = settings
        for name, entry in self._entries.items():
            entry.value = getattr(settings, name)
            self._shown[name] = entry.value
        for name, form in self._nested.items():
            form.write(getattr(settings, name))

    def entries(self) -> Iterator[tuple[str, ValueWidget[Any]]]:
        """Every entry with its dotted name, nested ones included."""
        yield from self._entries.items()
        for outer, form in self._nested.items():
            for name, entry in form.entries():
                yield f"{outer}.{name}", entry

    def _add(self, field: dataclasses.Field[Any]) -> None:
        value = getattr(self._start, field.name)
        rows = self._folded if field.metadata.get("advanced") else self._plain
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            form: SettingsForm[Any] = SettingsForm(value)
            form.changed.connect(self.changed)
            self._nested[field.name] = form
            _layout(self._plain).addRow(folded(_title(field.name), form))
            return
        entry = _entry(self._start, field)
        if entry is None:
            return
        entry.changed.connect(lambda *_: self.changed.emit())
        self._entries[field.name] = entry
        self._shown[field.name] = entry.value
        label = QLabel(_title(field.name))
        label.setToolTip(field.metadata.get("text", ""))
        _layout(rows).addRow(label, entry.native)


def folded(title: str, content: QWidget) -> QCollapsible:
    """`content` behind a heading that unfolds it."""
    section = QCollapsible(title)
    section.setDuration(0)
    section.addWidget(content)
    section.collapse(animate=False)
    return section


def _entry(settings: Any, field: dataclasses.Field[Any]) -> ValueWidget[Any] | None:
    """The magicgui widget of one field, or None when a person cannot edit its type."""
    hint = get_type_hints(type(settings))[field.name]
    value = getattr(settings, field.name)
    options: dict[str, Any] = {"tooltip": field.metadata.get("text", "")}
    if get_origin(hint) is Literal:
        options["choices"] = get_args(hint)
    elif hint in (int, float):
        low, high = field.metadata.get("ge"), field.metadata.get("le")
        options["min"] = hint(-_UNLIMITED if low is None else low)
        options["max"] = hint(_UNLIMITED if high is None else high)
        if hint is float:
            options["step"] = _step(value)
    elif hint not in (bool, str):
        return None
    entry = create_widget(value=value, annotation=hint, name=field.name, options=options)
    assert isinstance(entry, ValueWidget)  # every type let through above has a value
    if isinstance(entry, CheckBox):
        entry.text = ""  # the row has its name already
    return entry


def _step(value: float) -> float:
    """A tenth of the value's size, so that 0.05 and 20.0 are both reached in sensible clicks."""
    return float(10.0 ** (math.floor(math.log10(abs(value))) - 1)) if value else 0.01


def _title(name: str) -> str:
    if name == "mm":
        return "Millimetres"
    for ending, unit in _UNITS.items():
        if name.endswith(ending):
            name = f"{name.removesuffix(ending)} ({unit})"
    return name[:1].upper() + name[1:].replace("_", " ")


def _rows() -> QWidget:
    widget = QWidget()
    layout = QFormLayout(widget)
    layout.setContentsMargins(0, 0, 0, 0)
    return widget


def _layout(widget: QWidget) -> QFormLayout:
    layout = widget.layout()
    assert isinstance(layout, QFormLayout)
    return layout
