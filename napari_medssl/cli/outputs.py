"""Refusing to write over what is there."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from napari_medssl.errors import FormatError
from napari_medssl.io.folders import try_folder


def check_outputs(outputs: Iterable[Path], *, inputs: Iterable[Path] = (), force: bool = False) -> None:
    """Raise FormatError when an output exists (unless `force`), is also an input (always), or has no folder
    that takes files.

    Asked before the work begins, so that nobody waits for a result that then has no place.
    """
    sources = {path.resolve() for path in inputs}
    wanted = tuple(outputs)
    for path in wanted:
        if path.resolve() in sources:
            raise FormatError(f"{path} is also an input; give the output another name")
        if not path.parent.is_dir():
            raise FormatError(f"cannot write {path.name}: the folder {path.parent} does not exist; make it first")
        if path.exists() and not force:
            raise FormatError(f"{path} exists already; add --force to replace it, or give another name")
    for folder in dict.fromkeys(path.parent for path in wanted):
        try_folder(folder)
