"""`medssl compare`: pretraining methods side by side, under one budget."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from napari_medssl.cli.arguments import add_settings
from napari_medssl.cli.figure import new_figure, save_figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_medssl.bench.contest import Entry
    from napari_medssl.cli.console import Console


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.epilog = (
        "Every method trains for the same time on the same scans, then is asked: which organs are on a slice (k-NN\n"
        "and linear probe on frozen features, people split), which group is an exam of (--exams), how well do its\n"
        "prototypes carry an organ to another scan. First weights and training from scratch stand beside.\n"
        "A comparison found in --out is gone on with: methods that are trained are not trained again."
    )
    parser.add_argument("methods", nargs="*", help="methods of `medssl pretrain --list`")
    parser.add_argument("--data", type=Path, action="append", default=[], metavar="DIR", help="scans to train on")
    parser.add_argument("--judge", type=Path, metavar="DIR", help="labelled scans (images/, labels/) to judge on")
    parser.add_argument("--exams", type=Path, metavar="FILE.csv", help="table file,subject,group beside its images/")
    parser.add_argument("--exclude", action="append", default=[], metavar="NAME", help="not trained on")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="judge only scans named like this")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for weights, table and figure")
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:N or mps")
    add_settings(parser)


def run(args: argparse.Namespace, console: Console) -> int | None:
    """Train, judge, print one table, draw one figure."""
    from napari_medssl.bench.contest import ContestSettings, contest_steps
    from napari_medssl.cli.options import settings_from
    from napari_medssl.cli.settings_list import list_settings
    from napari_medssl.cli.training import follow_training
    from napari_medssl.engine.device import choose_device
    from napari_medssl.io.folders import make_folder

    if args.list_settings:
        return list_settings(console, ContestSettings)
    if not args.methods or not args.data or args.judge is None or args.out is None:
        console.problem("compare needs METHODS, --data DIR, --judge DIR and --out DIR; see medssl compare --help")
        return 2
    settings = settings_from(ContestSettings, file=args.settings, assignments=args.set)
    make_folder(args.out)
    entries, _ = follow_training(
        console,
        contest_steps(
            args.methods,
            args.data,
            args.judge,
            args.out,
            settings,
            device=choose_device(args.device),
            exam_table=args.exams,
            exclude=args.exclude,
            only=args.only,
        ),
        args.out,
        limit_minutes=settings.minutes,
    )
    head = (
        "method",
        "family",
        "",
        "steps",
        "organs, k-NN AUC",
        "organs, probe AUC",
        "95 % seeds",
        "exams, AUC",
        "one-shot Dice",
    )
    console.table(head, [_row(e) for e in entries], left=3)
    _draw(entries, args.out / "comparison.png", console)
    return None


def _row(e: Entry) -> list[str]:
    def number(value: float | None) -> str:
        return "-" if value is None or value != value else f"{value:.3f}"

    over = "-" if e.interval is None else f"{e.interval[0]:.3f}-{e.interval[1]:.3f}"
    return [
        e.name, e.family, f"{e.dims}D", str(e.steps or "-"),
        number(e.knn), number(e.presence), over, number(e.exams), number(e.dice),
    ]  # fmt: skip


def _draw(entries: Sequence[Entry], path: Path, console: Console) -> None:
    shown = sorted((e for e in entries if e.presence is not None), key=lambda e: e.presence or 0.0)
    figure = new_figure(7, 1.2 + 0.28 * len(shown), console)
    if figure is None:
        return
    axes = figure.subplots()
    values = [e.presence or 0.0 for e in shown]
    errors = [
        (0.0, 0.0) if e.interval is None else (v - e.interval[0], e.interval[1] - v)
        for e, v in zip(shown, values, strict=True)
    ]
    colors = ["#999999" if e.family == "baseline" else "#4c9be8" if e.dims == 2 else "#f0a23b" for e in shown]
    axes.barh([f"{e.name} ({e.dims}D)" for e in shown], values, color=colors, xerr=list(zip(*errors, strict=True)))
    axes.set_xlim(min(values, default=0.5) - 0.05, 1.0)
    axes.set_xlabel("mean AUC of organs on slices, linear probe; bar: 95 % over seeds")
    save_figure(figure, path, console)
