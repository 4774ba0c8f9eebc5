"""Writing that either happens whole or leaves the old file as it was."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from napari_medssl.errors import FormatError


@contextmanager
def replacing(*targets: Path) -> Iterator[tuple[Path, ...]]:
    """Temporary names beside `targets`, which take their place together when the block ends without an error.

    Each temporary file lies in the target's own folder (a rename is atomic only within one file system) and keeps its
    suffixes (libraries choose the format by them). It is flushed to the disk before the rename. After an error,
    a full disk included, the temporary files are gone and the old files untouched.

    Raises FormatError when the folder is missing or the disk refuses.
    """
    real = tuple(Path(os.path.realpath(t)) for t in targets)  # a link stays a link; what it points to is replaced
    for target in real:
        if not target.parent.is_dir():
            raise FormatError(f"cannot write {target.name}: the folder {target.parent} does not exist; make it first")
        if target.is_dir():
            raise FormatError(f"cannot write {target}: it is a folder; give a file name")
    token = secrets.token_hex(4)
    temporary = tuple(t.with_name(f".{token}-{t.name}") for t in real)
    try:
        yield temporary
        for temp in temporary:
            _flush(temp)
        for temp, target in zip(temporary, real, strict=True):
            if target.exists():
                shutil.copymode(target, temp)
            os.replace(temp, target)  # noqa: PTH105  # named for what it does; Path.replace hides the atomicity
        _flush_folder(real[0].parent)
    except OSError as error:
        raise FormatError(f"cannot write {real[0]}: {_reason(error)}; what was there before is unchanged") from error
    finally:
        for temp in temporary:
            with suppress(FileNotFoundError):
                temp.unlink()


def _flush(path: Path) -> None:
    with path.open("rb+") as handle:
        os.fsync(handle.fileno())


def _flush_folder(folder: Path) -> None:
    """Make the renames themselves durable, where the system lets a folder be opened (not on Windows)."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _reason(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full; free some space and save again"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "you may not write there; choose another folder"
    return str(error.strerror or error)
