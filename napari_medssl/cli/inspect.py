"""`medssl inspect`: what pretraining has left in an encoder of volumes, without any label."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from napari_medssl.cli import (
    inspect_cka,
    inspect_gradcam,
    inspect_shortcuts,
    inspect_statistics,
    inspect_transfer,
)

if TYPE_CHECKING:
    from napari_medssl.cli.console import Console

_PARTS = {
    "cka": inspect_cka, "statistics": inspect_statistics, "transfer": inspect_transfer, "gradcam": inspect_gradcam,
    "shortcuts": inspect_shortcuts,
}  # fmt: skip
"""Work to the module that does it, with LINE, `configure(parser)` and `run(args, console)`."""


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments of each part; help of the whole shows all of them."""
    parts = parser.add_subparsers(dest="part", required=True, metavar="|".join(_PARTS))
    usages = []
    for name, module in _PARTS.items():
        part = parts.add_parser(
            name, help=module.LINE, description=f"{module.LINE[0].upper()}{module.LINE[1:]}.",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        module.configure(part)
        part.add_argument(
            "-q", "--quiet", action="store_true", default=argparse.SUPPRESS, help="print results only, no progress"
        )
        part.set_defaults(run_part=module.run)
        usages.append(part.format_usage().removeprefix("usage: "))
    parser.epilog = "".join(usages) + "\nmedssl inspect PART --help explains each. Research use only."


def run(args: argparse.Namespace, console: Console) -> int | None:
    """The part that was asked for."""
    code: int | None = args.run_part(args, console)
    return code
