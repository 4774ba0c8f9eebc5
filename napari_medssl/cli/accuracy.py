"""`medssl accuracy`: Dice on labelled scans, from few labelled slices."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from napari_medssl.cli.arguments import add_compute, add_settings

if TYPE_CHECKING:
    from napari_medssl.bench.accuracy import Score
    from napari_medssl.cli.console import Console


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.epilog = (
        "within: one labelled slice, the organ's largest, of each scan itself.\n"
        "across: three labelled slices of the folder's last scan; 'in range' is then given the organ's own slices\n"
        "(the published, 'oracle' protocol), 'whole' is given nothing."
    )
    parser.add_argument("data", type=Path, nargs="?", help="folder with images/ and labels/ of the same file names")
    parser.add_argument("--task", choices=("within", "across"), default="within", help="default: within")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="only scans named like this")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="also write every score as a report")
    parser.add_argument("--force", action="store_true", help="replace a file that exists")
    add_compute(parser)
    add_settings(parser)


def run(args: argparse.Namespace, console: Console) -> int | None:
    """Measure and print a row per organ."""
    import dataclasses

    from napari_medssl.bench.accuracy import accuracy_steps
    from napari_medssl.cli.options import settings_from
    from napari_medssl.cli.outputs import check_outputs
    from napari_medssl.cli.settings_list import list_settings
    from napari_medssl.engine import Engine
    from napari_medssl.oneshot import SegmentSettings
    from napari_medssl.report import environment, write_report
    from napari_medssl.settings import to_dict

    if args.list_settings:
        return list_settings(console, SegmentSettings)
    if args.data is None:
        console.problem("accuracy also needs DATA, a folder with images/ and labels/; see medssl accuracy --help")
        return 2
    if args.out is not None:
        check_outputs([args.out], force=args.force)
    settings = settings_from(SegmentSettings, file=args.settings, assignments=args.set)
    with Engine(device=args.device, weights=args.weights) as engine:
        steps = accuracy_steps(args.data, args.task, engine=engine, settings=settings, only=args.only)
        scores = console.follow(steps)
        facts = {**environment(), "task": args.task, "settings": to_dict(settings), "engine": engine.describe()}
    console.table(("organ", "scans", "whole", "in range", "seconds"), table(scores), left=1)
    if args.out is not None:
        write_report(args.out, facts | {"scores": [dataclasses.asdict(s) for s in scores]})
    return None


def table(scores: list[Score]) -> list[tuple[str, str, str, str, str]]:
    """A row per organ and their mean: mean Dice over scans, median seconds."""
    import numpy as np

    rows, means = [], []
    for organ in sorted({s.organ for s in scores}):
        mine = [s for s in scores if s.organ == organ]
        mean = (float(np.nanmean([s.whole for s in mine])), float(np.nanmean([s.in_range for s in mine])))
        means.append(mean)
        seconds = float(np.median([s.seconds for s in mine]))
        rows.append((str(organ), str(len(mine)), f"{mean[0]:.3f}", f"{mean[1]:.3f}", f"{seconds:.2f}"))
    whole, in_range = (float(np.mean([m[i] for m in means])) for i in (0, 1))
    seconds = float(np.median([s.seconds for s in scores]))
    rows.append(("mean", str(len({s.scan for s in scores})), f"{whole:.3f}", f"{in_range:.3f}", f"{seconds:.2f}"))
    return rows
