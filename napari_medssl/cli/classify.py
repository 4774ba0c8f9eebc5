"""`medssl classify`: labels of slices and of whole exams."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from napari_medssl.cli import classify_evaluate, classify_explain, classify_predict, classify_slices, classify_train

if TYPE_CHECKING:
    from napari_medssl.cli.console import Console

_PARTS = {
    "train": classify_train, "predict": classify_predict, "evaluate": classify_evaluate, "slices": classify_slices,
    "explain": classify_explain,
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
    parser.epilog = "".join(usages) + "\nmedssl classify PART --help explains each. Research use only."


def run(args: argparse.Namespace, console: Console) -> int | None:
    """The part that was asked for."""
    code: int | None = args.run_part(args, console)
    return code
