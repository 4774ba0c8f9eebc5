"""Writing a folder that either appears whole or leaves what was there before."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from napari_medssl.errors import FormatError


@contextmanager
def replacing_folder(target: Path, *, marker: str) -> Iterator[Path]:
    """A temporary folder beside `target`, which takes its place when the block ends without an error.

    marker: a file that the folder to be replaced must hold, so that a folder of something else is never deleted.

    After an error, a full disk and a cancel included, the temporary folder is gone and the old one untouched. The old
    one is deleted only when the new one stands.

    Raises FormatError when the folder around it is missing, `target` is something else, or the disk refuses.
    """
    target = Path(os.path.realpath(target))
    _check_target(target, marker)
    part = target.with_name(f".{secrets.token_hex(4)}-{target.name}")
    try:
        part.mkdir()
        yield part
        _swap(part, target)
    except OSError as error:
        raise FormatError(f"cannot write {target}: {_reason(error)}; what was there before is unchanged") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _check_target(target: Path, marker: str) -> None:
    if not target.parent.is_dir():
        raise FormatError(f"cannot write {target.name}: the folder {target.parent} does not exist; make it first")
    if target.is_file():
        raise FormatError(f"cannot write {target}: a file of that name is there; remove it or choose another name")
    if target.is_dir() and any(target.iterdir()) and not (target / marker).exists():
        raise FormatError(f"cannot write {target}: that folder holds something else; choose another name")


def _swap(part: Path, target: Path) -> None:
    old = None
    if target.exists():
        old = part.with_name(f"{part.name}-old")
        target.rename(old)
    try:
        part.rename(target)
    except OSError:
        if old is not None:
            old.rename(target)
        raise
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)


def _reason(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "the disk is full; free some space and save again"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "you may not write there; choose another folder"
    return str(error.strerror or error)
