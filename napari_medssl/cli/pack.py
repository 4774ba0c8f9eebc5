"""`medssl pack`: join trained modules into one weights file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from napari_medssl.errors import FormatError

if TYPE_CHECKING:
    from napari_medssl.cli.console import Console


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.add_argument("parts", nargs="+", type=Path, help="weights files of different modules")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.safetensors", help="the joined file")
    parser.add_argument("--card", type=Path, metavar="FILE.json", help="facts to put first on the model card")
    parser.add_argument("--full", action="store_true", help="keep float32; by default tensors are stored as float16")
    parser.add_argument("--force", action="store_true", help="replace an existing file")


def run(args: argparse.Namespace, console: Console) -> None:
    """Join, write and say where."""
    import json

    from napari_medssl.models.bundle import join_bundles, load_bundle, save_bundle

    if args.out.exists() and not args.force:
        raise FormatError(f"{args.out} exists; choose another name, or give --force to replace it")
    card = {}
    if args.card is not None:
        try:
            card = json.loads(args.card.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise FormatError(f"{args.card} cannot be read as JSON: {error}") from error
    bundle = join_bundles([load_bundle(part) for part in args.parts], card=card)
    sha256 = save_bundle(args.out, bundle, half=not args.full)
    console.say(f"written: {args.out} ({args.out.stat().st_size / 2**20:.1f} MiB, SHA-256 {sha256[:12]})")
