"""`medssl pretrain`: train an encoder on your own scans, with any method."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_medssl.cli.arguments import add_settings

if TYPE_CHECKING:
    from napari_medssl.cli.console import Console
    from napari_medssl.train.method import Method


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.epilog = (
        "A run found in --out is continued, with the same settings and data; run.steps may grow. Ctrl-C ends a run\n"
        "after the step it is at and saves its state; a second Ctrl-C ends it at once, at the last saved state.\n"
        "Several GPUs or machines: torchrun --nproc-per-node N -m napari_medssl pretrain METHOD DATA --out DIR"
    )
    parser.add_argument("method", nargs="?", help="how to train; --list names all methods")
    parser.add_argument(
        "data", type=Path, nargs="*", help="folders with images/ (and labels/), folders of scans or DICOM, or scans"
    )
    parser.add_argument("--list", action="store_true", help="print every method with its source, and stop")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for weights, log and state")
    parser.add_argument(
        "--exclude", action="append", default=[], metavar="NAME", help="leave out scans named like this"
    )
    parser.add_argument("--small", action="store_true", help="begin from the method's settings for a small machine")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="prepared scans, to share between runs")
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:N or mps")
    add_settings(parser)


def run(args: argparse.Namespace, console: Console) -> int | None:
    """Train, then write the report beside the weights."""
    if args.list:
        return _list(console)
    if args.method is None:
        console.problem("pretrain needs a METHOD; `medssl pretrain --list` names them")
        return 2
    from napari_medssl.cli.settings_list import list_settings
    from napari_medssl.train.method import find_method

    method = find_method(args.method)
    if args.list_settings:
        return list_settings(console, method.settings, base=method.small if args.small else None)
    if not args.data or args.out is None:
        console.problem(f"pretrain {args.method} also needs DATA and --out DIR; see medssl pretrain --help")
        return 2
    _train(args, console, method)
    return None


def _train(args: argparse.Namespace, console: Console, method: Method) -> None:
    import time

    from napari_medssl.cli.training import follow_training
    from napari_medssl.engine.device import choose_device
    from napari_medssl.guidance import advise
    from napari_medssl.io.folders import make_folder
    from napari_medssl.models.bundle import load_bundle
    from napari_medssl.report import environment, report_path, write_report
    from napari_medssl.settings import to_dict
    from napari_medssl.train import distributed
    from napari_medssl.train.dataset import cases_in
    from napari_medssl.train.trainer import pretrain

    settings = _settings(args, method)
    cases = cases_in(args.data, exclude=tuple(args.exclude))
    make_folder(args.out)
    device = distributed.init_from_environment(choose_device(args.device))
    console.quiet |= not distributed.is_main()
    start = time.perf_counter()
    try:
        for sentence in advise(method.name, to_dict(settings)):
            console.remark(sentence)
        steps = pretrain(cases, args.out, method.name, settings, device=device, cache=args.cache)
        weights, notes = follow_training(console, steps, args.out, limit_minutes=settings.run.max_minutes)
        main = distributed.is_main()
    finally:
        distributed.shutdown()
    if not main:
        return
    report = {**environment(), "command": ["medssl", *args.argv], "method": method.name, "settings": to_dict(settings)}
    bundle = load_bundle(weights)
    run = bundle.card["run"]
    report |= {"seed": settings.run.seed, "data": bundle.card["data"], "notes": notes, "run": run}
    report["seconds"] = round(time.perf_counter() - start, 1)
    report["weights_sha256"] = bundle.sha256
    write_report(report_path(weights), report)
    console.say(_summary(run))
    console.say(f"written: {weights}")
    console.say(_next_command(method, weights))


def _summary(run: dict[str, Any]) -> str:
    numbers = ", ".join(f"{name} {run[name]:.3g}" for name in ("loss", "accuracy", "knn") if name in run)
    return f"trained: {run['steps']} steps in {run['seconds']:.0f} s" + (f", {numbers}" if numbers else "")


def _next_command(method: Method, weights: Path) -> str:
    use, test = f"use it: medssl segment ... --weights {weights}", f"test it: medssl evaluate {weights} --data ..."
    if weights.stem in ("propagator", "reviser", "recogniser"):
        return f"use it: medssl pack ENCODER.safetensors {weights} --out BOTH.safetensors"
    return f"{use}\n{test}" if method.dims == 2 else test


def _settings(args: argparse.Namespace, method: Method) -> Any:
    from napari_medssl.cli.options import settings_from

    return settings_from(
        method.settings, file=args.settings, assignments=args.set, base=method.small if args.small else None
    )


def _list(console: Console) -> int:
    from napari_medssl.train.method import all_methods

    methods = sorted(all_methods().values(), key=lambda m: (m.family, m.dims, m.name))
    rows = [(m.name, m.family, f"{m.dims}D", m.line, m.source) for m in methods]
    console.table(("method", "family", "", "what it does", "source"), rows, left=5)
    return 0
