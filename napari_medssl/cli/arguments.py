"""Arguments several commands share, and what their texts mean."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from napari_medssl.errors import SettingsError


def add_reading(parser: argparse.ArgumentParser) -> None:
    """Which volume of a file that holds several."""
    parser.add_argument("--series", help="DICOM series of a folder: its UID, number or exact description")
    parser.add_argument("--index", type=int, help="volume of a 4D file or series, counted from 0")


def reading(args: argparse.Namespace) -> dict[str, Any]:
    """The keywords of `read` for these arguments; a series given in digits is its number."""
    series = args.series
    return {"series": int(series) if series and series.isdecimal() else series, "index": args.index}


def add_compute(parser: argparse.ArgumentParser) -> None:
    """Where to compute and with which weights."""
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:N or mps")
    parser.add_argument("--weights", default="default", help="default, none, another installed set, or a file")


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Settings by name; their names, limits and defaults come from the settings class itself."""
    parser.add_argument("--settings", type=Path, metavar="FILE.json", help="settings, or a report to take them from")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="one setting; may be repeated")
    parser.add_argument("--list-settings", action="store_true", help="print every setting with its limits, and stop")


def slice_range(text: str | None, depth: int, *, soft: bool = False) -> tuple[int, int] | None:
    """(low, high), half-open, of "LO:HI" on a scan of `depth` slices; an end left out is the scan's own.

    soft: as a `SoftRange`. Raises SettingsError when it is no range or holds no slice of the scan.

    >>> slice_range("4:", 10), slice_range(None, 10)
    ((4, 10), None)
    """
    from napari_medssl.volume import SoftRange

    if text is None:
        return None
    low, colon, high = text.partition(":")
    try:
        if not colon:
            raise ValueError("no colon")
        span = (int(low) if low else 0, int(high) if high else depth)
    except ValueError as error:
        raise SettingsError(f"--slices {text!r} is no range; write LO:HI with whole numbers, such as 10:25") from error
    if not 0 <= span[0] < span[1] <= depth:
        raise SettingsError(f"--slices {text!r} lies outside the scan, whose slices are 0:{depth}")
    return SoftRange(*span) if soft else span
