"""`medssl classify slices benchmark`: how well organs are found on slices from few labels."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from napari_medssl.cli.arguments import add_compute, add_settings

if TYPE_CHECKING:
    from napari_medssl.bench.slice_presence import PresenceRow
    from napari_medssl.cli.console import Console

LINE = "measure how well organs are found on slices, from few labelled people or ten marked slices"
_RANGES = (
    "instead: segment N people of the folder from its last one, with no slice range, with that from scores (taken "
    "away afterwards, soft, and exact), and with the true one"
)
_FILES = ("slices.json", "slices.md")


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.add_argument("data", type=Path, nargs="*", metavar="DIR", help="folders with images/ and labels/")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="only scans named like this")
    parser.add_argument(
        "--held-out", action="append", default=[], metavar="NAME",
        help="scans that the weights never saw; in folders that have some, only these are tested",
    )  # fmt: skip
    parser.add_argument("--ranges", type=int, default=0, metavar="N", help=_RANGES)
    parser.add_argument("--out", type=Path, metavar="DIR", help=f"folder for {' and '.join(_FILES)}")
    parser.add_argument("--force", action="store_true", help="replace files that exist")
    add_compute(parser)
    add_settings(parser)


def run(args: argparse.Namespace, console: Console) -> int | None:
    """Measure, print, write."""
    from napari_medssl.bench.slice_presence import PresenceSettings, presence_steps
    from napari_medssl.cli.options import settings_from
    from napari_medssl.cli.outputs import check_outputs
    from napari_medssl.cli.settings_list import list_settings

    if args.list_settings:
        return list_settings(console, PresenceSettings)
    if not args.data:
        console.problem("slices benchmark needs DIR, a folder with images/ and labels/")
        return 2
    if args.ranges:
        return _ranges(args, console)
    settings = settings_from(PresenceSettings, file=args.settings, assignments=args.set)
    if args.out is not None:
        check_outputs([args.out / n for n in _FILES] if args.out.is_dir() else [args.out], force=args.force)
    steps = presence_steps(
        args.data, settings, weights=args.weights, device=args.device, only=args.only, held_out=args.held_out
    )
    rows = console.follow(steps)
    console.table(_HEAD, [_cells(r) for r in rows], left=4)
    if args.out is not None:
        _write(args, rows, settings, console)
    return None


def _ranges(args: argparse.Namespace, console: Console) -> int | None:
    """What slice ranges from scores are worth to segmentation across people."""
    import dataclasses

    import numpy as np

    from napari_medssl.bench.slice_ranges import range_steps
    from napari_medssl.cli.outputs import check_outputs
    from napari_medssl.engine import Engine
    from napari_medssl.io.folders import make_folder
    from napari_medssl.report import environment, write_report

    file = None if args.out is None else args.out / "ranges.json"
    if file is not None:
        make_folder(args.out)
        check_outputs([file], force=args.force)
    with Engine(args.device, args.weights) as engine:
        steps = [range_steps(folder, engine=engine, queries=args.ranges, only=args.only) for folder in args.data]
        rows = [row for found in map(console.follow, steps) for row in found]
        facts = {**environment(), "command": ["medssl", *args.argv], "engine": engine.describe()}
    names = ("whole", "cut", "soft", "scored", "oracle")
    table = [
        (r.scan, str(r.organ), *(f"{getattr(r, n):.3f}" for n in names), _span(r.found), _span(r.true)) for r in rows
    ]
    means = (f"{np.nanmean([getattr(r, n) for r in rows]):.3f}" for n in names)
    head = ("scan", "organ", "no range", "cut after", "soft", "exact", "true", "found", "is")
    console.table(head, [*table, ("mean", "", *means, "", "")])
    if file is not None:
        write_report(file, facts | {"rows": [dataclasses.asdict(r) for r in rows]})
        console.say(f"written: {file}")
    return None


def _span(span: tuple[int, int]) -> str:
    return f"{span[0]}-{span[1] - 1}"


_HEAD = ("task", "data", "vectors", "learned from", "AUC", "worst-best", "worst organ", "seconds")


def _cells(row: PresenceRow) -> tuple[str, ...]:
    worst = min(row.organs, key=lambda name: row.organs[name], default="")
    organ = f"{worst} {row.organs[worst]:.3f}" if worst else "-"
    return (row.task, row.data, row.source, row.learned_from, f"{row.auc:.3f}", f"{row.low:.3f}-{row.high:.3f}", organ,
            f"{row.seconds:.2f}")  # fmt: skip


def _write(args: argparse.Namespace, rows: list[PresenceRow], settings: object, console: Console) -> None:
    import dataclasses

    from napari_medssl.engine.weights import resolve_weights
    from napari_medssl.io.atomic import replacing
    from napari_medssl.io.folders import make_folder
    from napari_medssl.report import environment, write_report
    from napari_medssl.settings import to_dict

    make_folder(args.out)
    table = [_HEAD, tuple("---" for _ in _HEAD), *(_cells(r) for r in rows)]
    with replacing(args.out / _FILES[1]) as (temp,):
        temp.write_text("\n".join(f"| {' | '.join(line)} |" for line in table) + "\n", encoding="utf-8")
    facts = {"command": ["medssl", *args.argv], "weights": resolve_weights(args.weights).name}
    rows_out = [dataclasses.asdict(r) for r in rows]
    write_report(args.out / _FILES[0], {**environment(), **facts, "settings": to_dict(settings), "rows": rows_out})
    for name in _FILES:
        console.say(f"written: {args.out / name}")
