"""`medssl bench`: speed and memory on this computer, against the project's goals."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_medssl.cli.arguments import add_compute, add_settings

if TYPE_CHECKING:
    from napari_medssl.bench import Measurement
    from napari_medssl.cli.console import Console

_QUICK = ["slices=8", "repeats=1"]


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.epilog = "Ratios compare two things in the same run; the goals in seconds are for two processor cores."
    parser.add_argument(
        "--quick", action="store_true", help="8 slices, each thing once: shows that it works, not speed"
    )
    parser.add_argument("--large", action="store_true", help="also a CT of 512 x 512 x 400 voxels (many minutes)")
    parser.add_argument(
        "--pretrain",
        nargs="+",
        default=[],
        metavar="METHOD",
        help="instead, a training step of these methods, against the bare step",
    )
    parser.add_argument(
        "--features", action="store_true", help="instead, dense 3D features: speed against the bare encoder, and memory"
    )
    parser.add_argument("--check", action="store_true", help="exit with 1 when a goal is missed")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="also write the measurements as a report")
    parser.add_argument("--force", action="store_true", help="replace a file that exists")
    add_compute(parser)
    add_settings(parser)


def run(args: argparse.Namespace, console: Console) -> int | None:
    """Measure, print, judge."""
    import json

    from napari_medssl.bench import BenchSettings, bench_steps
    from napari_medssl.cli.options import settings_from
    from napari_medssl.cli.outputs import check_outputs
    from napari_medssl.cli.settings_list import list_settings
    from napari_medssl.report import plain, write_report
    from napari_medssl.settings import to_dict

    if args.list_settings:
        return list_settings(console, BenchSettings)
    settings = settings_from(BenchSettings, file=args.settings, assignments=(_QUICK if args.quick else []) + args.set)
    if args.out is not None:
        check_outputs([args.out], force=args.force)
    rows = console.follow(
        bench_steps(
            settings,
            device=args.device,
            weights=args.weights,
            large=args.large,
            methods=args.pretrain,
            features=args.features,
        )
    )
    facts = {**_machine(args), "settings": to_dict(settings), "measurements": [row.facts() for row in rows]}
    if args.out is not None:
        write_report(args.out, facts)
    if args.json:
        console.say(json.dumps(plain(facts), indent=2, ensure_ascii=False))
    else:
        _print(console, rows, facts)
    return 1 if args.check and any(row.met is False for row in rows) else None


def _machine(args: argparse.Namespace) -> dict[str, Any]:
    import os

    import torch

    from napari_medssl.engine.device import choose_device, describe_device
    from napari_medssl.report import environment

    device = describe_device(choose_device(args.device))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        **environment(),
        "device": device,
        "weights": args.weights,
        "cores": cores,
        "threads": torch.get_num_threads(),
    }


def _print(console: Console, rows: list[Measurement], facts: dict[str, Any]) -> None:
    console.say(f"{facts['device']}, {facts['cores']} cores, {facts['threads']} threads, weights {facts['weights']}\n")
    verdict = {True: "met", False: "missed", None: ""}
    cells = []
    for row in rows:
        sign = ">=" if row.better == "higher" else "<="
        goal = "" if row.goal is None else f"{sign} {row.goal:g} {row.unit}".rstrip()
        cells.append((row.what, f"{row.value:.3g} {row.unit}".rstrip(), goal, verdict[row.met], row.detail))
    console.table(("what", "measured", "goal", "", "detail"), cells, left=5)
