"""Turning what goes wrong inside the parsing libraries into sentences that name the file."""

from __future__ import annotations

import gzip
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from napari_medssl.errors import FormatError, GeometryError, MedSSLError

# What the parsing libraries raise on damaged files, as found by feeding them truncated and altered ones. They document
# none of it. MemoryError: a header that claims more than there is.
DAMAGE: tuple[type[Exception], ...] = (
    OSError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError, NotImplementedError, RuntimeError,
    OverflowError, MemoryError, AssertionError, ZeroDivisionError, struct.error, zlib.error, gzip.BadGzipFile,
    zipfile.BadZipFile,
)  # fmt: skip
# Some libraries put the bytes they could not parse into their message.
_LONGEST = 200


def check_readable(path: Path) -> None:
    """Raise FormatError when nothing is there, nothing is in it, or it may not be read."""
    try:
        size = path.stat().st_size
    except (OSError, ValueError) as error:
        raise FormatError(f"cannot read {path}: there is no such file or folder that you may open") from error
    if not os.access(path, os.R_OK):
        raise FormatError(f"cannot read {path}: you have no permission; ask its owner or copy it to your own folder")
    if path.is_file() and size == 0:
        raise FormatError(f"{path} is empty (0 bytes); copy it again from its source")


@contextmanager
def damage_as_error(path: Path, *more: type[Exception]) -> Iterator[None]:
    """Turn what the parsing libraries raise into a FormatError that names the file.

    more: a library's own exceptions, which this module cannot name without importing it.
    """
    try:
        yield
    except GeometryError as error:
        if str(path) in str(error):
            raise
        raise GeometryError(f"{path}: {error}") from error
    except MedSSLError:
        raise
    except (*DAMAGE, *more) as error:
        raise FormatError(f"cannot read {path}: {_explain(error)}") from error


def _explain(error: BaseException) -> str:
    if isinstance(error, PermissionError):
        return "you have no permission; ask its owner or copy it to your own folder"
    if isinstance(error, (EOFError, zlib.error, gzip.BadGzipFile)):
        return f"the compressed data is cut off or damaged ({error}); copy it again from its source"
    if isinstance(error, MemoryError):
        return "it does not fit in memory; crop or downsample it first"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = (lines[-1] if lines else type(error).__name__)[:_LONGEST]
    return f"the file is damaged or not what its name says ({said})"
