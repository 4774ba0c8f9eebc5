"""Commands of several parts, such as `medssl classify train`: each part a module of its own."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_medssl.cli.console import Console


def add_parts(parser: argparse.ArgumentParser, command: str, parts: Mapping[str, Any]) -> None:
    """The arguments of each part; help of the whole shows all of them.

    parts: name to the module that does it, with LINE, `configure(parser)` and `run(args, console)`.
    """
    found = parser.add_subparsers(dest="part", required=True, metavar="|".join(parts))
    usages = []
    for name, module in parts.items():
        part = found.add_parser(
            name, help=module.LINE, description=f"{module.LINE[0].upper()}{module.LINE[1:]}.",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        module.configure(part)
        part.add_argument(
            "-q", "--quiet", action="store_true", default=argparse.SUPPRESS, help="print results only, no progress"
        )
        part.set_defaults(run_part=module.run)
        usages.append(part.format_usage().removeprefix("usage: "))
    parser.epilog = "".join(usages) + f"\nmedssl {command} PART --help explains each. Research use only."


def run_part(args: argparse.Namespace, console: Console) -> int | None:
    """The part that was asked for."""
    code: int | None = args.run_part(args, console)
    return code
