"""Printing the settings of a command, as their dataclasses define them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_medssl.cli.options import options

if TYPE_CHECKING:
    from napari_medssl.cli.console import Console


def list_settings(console: Console, kind: type, *, base: Any = None) -> int:
    """Every setting with default, allowed values and explanation; returns the exit code.

    base: an instance whose values are the defaults shown; without it, those of the class.
    """
    rows = [(o.name, str(o.default), o.allowed, o.text) for o in options(kind, base=base)]
    console.table(("setting", "default", "allowed", "what it does"), rows, left=4)
    return 0
