"""`medssl info`: what a file or folder holds."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_medssl.cli.arguments import add_reading, reading

if TYPE_CHECKING:
    from napari_medssl.cli.console import Console


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.add_argument("path", type=Path, help="a scan or mask: a file, or a folder with DICOM series")
    parser.add_argument("--json", action="store_true", help="everything, as JSON")
    add_reading(parser)


def run(args: argparse.Namespace, console: Console) -> None:
    """Describe and print."""
    import json

    from napari_medssl.io import describe
    from napari_medssl.report import plain

    facts = describe(args.path, **reading(args))
    if args.json:
        console.say(json.dumps(plain(facts), indent=2, ensure_ascii=False))
        return
    for name, value in _lines(facts):
        console.say(f"{name + ':':<13} {value}")
    if facts.get("series"):
        _print_series(console, facts["series"])
    if facts.get("labels"):
        rows = [(o["name"], str(o["value"]), str(o["voxels"]), f"{o['volume_ml']:.1f}") for o in facts["labels"]]
        console.say()
        console.table(("label", "value", "voxels", "volume ml"), rows)


def _lines(facts: dict[str, Any]) -> list[tuple[str, str]]:
    lines = [("file", facts["path"]), ("format", facts["format"])]
    if "shape_zyx" not in facts:
        return [*lines, ("volume", "several series; choose one with --series NUMBER")]
    depth, rows, columns = facts["shape_zyx"]
    codes = ", ".join(facts["orientation_zyx"])
    tilt = [word for word in ("oblique", "sheared") if facts[word]]
    lines += [
        ("size", f"{depth} slices of {rows} x {columns} pixels ({facts['type']})"),
        ("spacing", " x ".join(f"{s:.4g}" for s in facts["spacing_mm_zyx"]) + " mm (Z, Y, X)"),
        ("orientation", ", ".join([facts["plane"], f"Z, Y, X run {codes}", *tilt])),
        ("modality", facts["modality"]),
        ("values", f"{facts['min']:.6g} to {facts['max']:.6g}" if facts["min"] is not None else "none"),
    ]
    if facts["not_finite"]:
        lines.append(("not finite", f"{facts['not_finite']} voxels"))
    return lines + [("note", note) for note in facts["notes"]]


def _print_series(console: Console, series: list[dict[str, Any]]) -> None:
    rows = [(str(s["number"]), str(s["description"]), str(s["modality"]), str(s["slices"])) for s in series]
    console.say()
    console.table(("number", "description", "modality", "slices"), rows, left=3)
