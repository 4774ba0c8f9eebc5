"""What the parts of `medssl inspect` share: scans, crops and the report."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_medssl.cli.console import Console
    from napari_medssl.pretext.scan import Scan


def add_scans(parser: argparse.ArgumentParser) -> None:
    """Where the scans are."""
    parser.add_argument(
        "--data", type=Path, action="append", default=[], metavar="DIR", help="folder of scans, or a scan; may be "
        "repeated"
    )  # fmt: skip
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="only scans named like this")
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:N or mps")


def add_report(parser: argparse.ArgumentParser, what: str) -> None:
    """Where results go."""
    parser.add_argument("--out", type=Path, metavar="DIR", help=f"folder for {what}; made when it is not there")
    parser.add_argument("--force", action="store_true", help="replace files that exist")


def check_folder(args: argparse.Namespace, names: Sequence[str]) -> None:
    """Raise FormatError when --out has one of these files already, or cannot be a folder."""
    from napari_medssl.cli.outputs import check_outputs
    from napari_medssl.io.folders import make_folder

    if args.out is None:
        return
    if args.out.is_dir() or not args.out.exists():
        make_folder(args.out)
    check_outputs([args.out / n for n in names] if args.out.is_dir() else [args.out], force=args.force)


def save_facts(args: argparse.Namespace, name: str, facts: dict[str, Any], console: Console) -> None:
    """Write the report into the folder --out, when one was given."""
    from napari_medssl.report import environment, write_report

    if args.out is None:
        return
    write_report(args.out / name, {**environment(), "command": ["medssl", *args.argv], **facts})
    console.say(f"written: {args.out / name}")


def load_groups(args: argparse.Namespace, grid: Any, console: Console) -> dict[str, list[Scan]]:
    """The scans of each --data on a grid, by the name of the folder.

    Raises FormatError when one holds no scan, or none named as --only says.
    """
    from napari_medssl.errors import FormatError
    from napari_medssl.train.dataset import cases_in
    from napari_medssl.train.store import load_scans

    found: dict[str, list[Scan]] = {}
    for path in args.data:
        cases = [c for c in cases_in([path]) if not args.only or c.image.name.startswith(tuple(args.only))]
        if not cases:
            raise FormatError(f"no scan called {' or '.join(args.only)}... in {path}")
        name = path.name if path.name not in found else str(path)
        found[name] = console.follow(load_scans(cases, grid))
    return found


def number(value: float | None) -> str:
    """Three decimals, or a dash."""
    return "-" if value is None else f"{value:.3f}"
