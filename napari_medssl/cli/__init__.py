"""The command `medssl`: one small file per command, a table of them here, and the border where errors become sentences.

A command module has `configure(parser)` and `run(args, console)`. It imports what computes inside `run`, so that help
and mistakes in the arguments answer at once instead of after loading PyTorch.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
from collections.abc import Sequence

from napari_medssl import __version__
from napari_medssl.cli.console import Console
from napari_medssl.errors import MedSSLError

COMMANDS: dict[str, str] = {
    "segment": "organs of a whole scan from one or a few labelled slices",
    "edit": "refine a label map: fill, clean, smooth, interpolate, grow, shrink, combine",
    "library": "named organ examples in one file, for any number of scans",
    "info": "what a file or folder holds",
    "convert": "a scan or mask into another format, on the same grid",
    "demo": "segment a sample scan and show how well it went",
    "weights": "the trained weights that are installed",
    "recommend": "which method to use for a task, and why",
    "pretrain": "train an encoder on your own scans, with any of some fifty methods",
    "compare": "pretraining methods side by side, under one budget",
    "evaluate": "how good an encoder is, with and without labels",
    "inspect": "what pretraining left in a 3D encoder: likeness of layers, statistics, transfer, evidence",
    "classify": "labels of slices and of whole exams: train, score, judge, explain",
    "features": "dense 3D features of any number of scans: grids, colours, likeness, tables",
    "similar": "the scans of a folder that are most like a scan",
    "pack": "join trained modules into one weights file",
    "accuracy": "Dice on labelled scans, from few labelled slices",
    "simulate": "a simulated user who labels slices and corrects, and how sure the results are",
    "bench": "speed and memory on this computer, against the project's goals",
}
"""Command to what it gives; the module `napari_medssl.cli.COMMAND` does the work."""

OK, USER_ERROR, USAGE, CANCELLED = 0, 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 the user can mend it, 2 wrong usage, 130 cancelled."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    logging.getLogger("napari_medssl").addHandler(logging.NullHandler())  # notes reach the user through the report
    try:
        args = _parse(arguments)
    except SystemExit as stop:  # argparse has already said why
        return int(stop.code or 0)
    console = Console(quiet=args.quiet)
    try:
        code = args.run(args, console)
        sys.stdout.flush()
    except MedSSLError as error:
        return _fail(console, error)
    except KeyboardInterrupt:
        console.problem("cancelled")
        return CANCELLED
    except BrokenPipeError:  # the reader of our output, such as `head`, has gone; flushing at exit must not fail again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    return OK if code is None else int(code)


def _parse(arguments: list[str]) -> argparse.Namespace:
    name = next((a for a in arguments if not a.startswith("-")), None)
    if name not in COMMANDS or arguments[0] != name:
        args = _top_parser().parse_args(arguments)
        raise SystemExit(_top_parser().error(f"unknown command {args.command!r}"))
    parser = argparse.ArgumentParser(
        prog=f"medssl {name}",
        description=_sentence(COMMANDS[name]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module = importlib.import_module(f"napari_medssl.cli.{name}")
    module.configure(parser)
    parser.add_argument("-q", "--quiet", action="store_true", help="print results only, no progress")
    parser.set_defaults(run=module.run, command=name, argv=arguments)
    return parser.parse_args(arguments[1:])


def _top_parser() -> argparse.ArgumentParser:
    width = max(map(len, COMMANDS))
    table = "\n".join(f"  {name:<{width}}  {text}" for name, text in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="medssl",
        usage="medssl COMMAND [ARGUMENTS]",
        description="Label one slice of an MR or CT, get the organ in the whole volume.",
        epilog=f"commands:\n{table}\n\nmedssl COMMAND --help explains a command. Research use only.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=True,
    )
    parser.add_argument("--version", action="version", version=f"napari-medssl {__version__}")
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help=argparse.SUPPRESS)
    return parser


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


def _fail(console: Console, error: MedSSLError) -> int:
    console.problem(str(error))
    return USER_ERROR
