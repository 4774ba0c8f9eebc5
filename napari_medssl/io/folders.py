"""Folders that results go to, tried before the work begins."""

from __future__ import annotations

import tempfile
from pathlib import Path

from napari_medssl.errors import FormatError


def make_folder(path: Path) -> Path:
    """Make a folder, its parents too, and see that it takes files; raises FormatError when it does not."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise FormatError(f"{path} is a file; give a folder, which need not exist yet") from error
    except OSError as error:
        raise FormatError(f"cannot make the folder {path} ({error.strerror}); choose another folder") from error
    try_folder(path)
    return path


def try_folder(folder: Path) -> None:
    """Raise FormatError when no file can be made in `folder`; permission bits do not tell of read-only disks."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise FormatError(f"cannot write into the folder {folder} ({error.strerror}); choose another folder") from error
