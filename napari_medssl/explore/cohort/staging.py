"""A folder for what is not finished, so that the results' folder holds whole files only, whatever ends the work."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from napari_medssl.errors import FormatError
from napari_medssl.io.folders import make_folder
from napari_medssl.report import write_report

UNFINISHED = {"unfinished": True}
"""The report of a result that is just being put in its place."""

_NAME = re.compile(r"\.unfinished-(?P<host>[\w-]+)-(?P<pid>\d+)-[0-9a-f]{8}\Z")


@contextmanager
def staging(out: Path) -> Iterator[Path]:
    """A new folder in `out` for unfinished results, gone when the block ends, with all that is still in it.

    It lies in `out` because a rename is atomic within one file system only. What a run that was killed left on this
    computer is swept away first.

    Raises FormatError when `out` cannot be written, or when another run on this computer is writing into it.
    """
    make_folder(out)
    _sweep(out)
    host = re.sub(r"[^\w-]", "-", socket.gethostname()) or "host"
    folder = out / f".unfinished-{host}-{os.getpid()}-{secrets.token_hex(4)}"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # what another machine still holds open is swept by the next run


def _sweep(out: Path) -> None:
    host = re.sub(r"[^\w-]", "-", socket.gethostname()) or "host"
    for folder in out.glob(".unfinished-*"):
        match = _NAME.match(folder.name)
        if match is None or match["host"] != host:
            continue
        pid = int(match["pid"])
        if pid != os.getpid() and psutil.pid_exists(pid):
            raise FormatError(
                f"another run (process {pid}) is writing into {out}; wait for its end or choose another folder"
            )
        shutil.rmtree(folder, ignore_errors=True)


def move_in(files: Sequence[str], source: Path, out: Path) -> tuple[Path, ...]:
    """Move finished files (or folders, such as a Zarr store) from `source` to `out`, the last one being the report.

    Until the last has arrived, a report that says so stands in its place: whatever happens in between, a result and a
    report of different runs are never taken for each other. Returns where they are now.

    Raises FormatError when the disk refuses.
    """
    write_report(out / files[-1], UNFINISHED)
    try:
        for name in files:
            _replace(source / name, out / name, aside=source)
    except OSError as error:
        raise FormatError(
            f"cannot put {files[0]} into {out}: {error.strerror}; run again when that is mended"
        ) from error
    return tuple(out / name for name in files)


def _replace(new: Path, place: Path, *, aside: Path) -> None:
    if place.is_dir() or (new.is_dir() and place.exists()):  # a folder cannot be replaced in one step
        os.replace(place, aside / f"old-{secrets.token_hex(4)}")  # noqa: PTH105  # as in io.atomic
    os.replace(new, place)  # noqa: PTH105
