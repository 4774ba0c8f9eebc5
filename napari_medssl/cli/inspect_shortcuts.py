"""`medssl inspect shortcuts`: does a pretext network read the anatomy, or only borders and seams?"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_medssl.cli.inspecting import add_report, add_scans, check_folder, load_groups, save_facts

if TYPE_CHECKING:
    from napari_medssl.cli.console import Console

LINE = "accuracy of a pretext network on whole images, borders alone and centres alone"
_JSON = "shortcuts.json"


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.epilog = (
        "RUN is a folder of medssl pretrain with a method that tells one label from an image or patches. Give scans\n"
        "that were not trained on. A shortcut is called where borders alone keep --tolerance of what was learned,\n"
        "and more than centres do."
    )
    parser.add_argument("run_folder", type=Path, metavar="RUN", help="folder of a pretraining run")
    add_scans(parser)
    parser.add_argument("--examples", type=int, default=256, metavar="N", help="examples that are asked (default: 256)")
    parser.add_argument("--border", type=float, default=0.1, help="width as a share of the side (default: 0.1)")
    parser.add_argument("--tolerance", type=float, default=0.2, help="share of the gain over guessing (default: 0.2)")
    parser.add_argument("--seed", type=int, default=0, help="of the examples (default: 0)")
    add_report(parser, _JSON)


def run(args: argparse.Namespace, console: Console) -> int | None:
    """Audit, print, write."""
    import dataclasses

    from napari_medssl.engine.device import choose_device
    from napari_medssl.pretext.shortcut import audit_shortcuts
    from napari_medssl.train.grid import grid_of
    from napari_medssl.train.opened_run import open_run

    if not args.data:
        console.problem("shortcuts needs --data DIR; see medssl inspect shortcuts --help")
        return 2
    check_folder(args, (_JSON,))
    _check(args)
    opened = open_run(args.run_folder, device=choose_device(args.device))
    if not callable(getattr(opened.recipe.objective, "logits", None)):
        raise _no_labels(opened.method.name)
    groups = load_groups(args, grid_of(opened.settings), console)
    scans = [scan for found in groups.values() for scan in found]
    objective: Any = opened.recipe.objective  # that it has logits was asked above
    report = audit_shortcuts(
        objective, opened.recipe.task, scans,
        examples=args.examples, border=args.border, tolerance=args.tolerance, seed=args.seed,
    )  # fmt: skip
    rows = [(n, f"{getattr(report, n):.3f}") for n in ("full", "borders", "centres", "chance")]
    console.table(("shown", "accuracy"), rows)
    console.say(report.sentence)
    shares = {"kept_by_borders": report.kept_by_borders, "kept_by_centres": report.kept_by_centres}
    facts = {"method": opened.method.name, "run_sha256": opened.sha256, "steps": opened.step}
    found = {**dataclasses.asdict(report), **shares, "leak": report.leak, "sentence": report.sentence}
    data = {name: len(s) for name, s in groups.items()}
    save_facts(args, _JSON, {**facts, "scans": data, "border": args.border, "seed": args.seed, "audit": found}, console)
    return None


def _check(args: argparse.Namespace) -> None:
    from napari_medssl.errors import SettingsError

    if args.examples < 1 or not 0 < args.border < 0.5 or not 0 < args.tolerance <= 1:
        raise SettingsError(
            f"--examples {args.examples} --border {args.border} --tolerance {args.tolerance}: examples are 1 or more, "
            "the border is above 0 and below 0.5, the tolerance above 0 and at most 1"
        )


def _no_labels(method: str) -> Exception:
    from napari_medssl.errors import SettingsError

    return SettingsError(
        f"{method} tells no single label, so it has no accuracy to audit; take a run of rotation, jigsaw, rot3d, "
        "jigsaw3d, rubik, rpl or the like"
    )
