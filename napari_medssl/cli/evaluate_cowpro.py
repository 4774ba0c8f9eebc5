"""`medssl evaluate cowpro`: the published tables of CoWPro, measured on a folder of labelled scans."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_medssl.errors import SettingsError

if TYPE_CHECKING:
    from napari_medssl.cli.console import Console
    from napari_medssl.evaluate.cowpro.averages import Mean
    from napari_medssl.evaluate.cowpro.run import Measured
    from napari_medssl.evaluate.cowpro.settings import ReproductionSettings
    from napari_medssl.evaluate.cowpro.tables import Effect, Row, Table
    from napari_medssl.train.dataset import Case

COWPRO = "cowpro"
_FILES = ("cowpro.json", "cowpro.md", "cowpro.png")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What this evaluation takes beside the arguments of the others."""
    own = parser.add_argument_group("cowpro")
    own.add_argument(
        "--folds", type=int, metavar="N", help="folds over people (default: quick 3, thesis 5, with --weights 1)"
    )
    own.add_argument(
        "--preset", choices=("quick", "thesis"), default="quick", help="sizes for two cores (default), or as published"
    )
    own.add_argument(
        "--weights", dest="given", metavar="WEIGHTS", help="score these (default, none, a file) instead of training"
    )
    own.add_argument("--start-from", metavar="FILE", help="weights that training starts from, such as COCO's")


def evaluate_cowpro(args: argparse.Namespace, data: list[Path], console: Console) -> int | None:
    """Train where it is not done, score, print tables and differences, write them with a figure into --out."""
    from napari_medssl.cli.settings_list import list_settings
    from napari_medssl.cli.training import follow_training
    from napari_medssl.engine.device import choose_device, describe_device
    from napari_medssl.evaluate.cowpro.run import reproduce_steps
    from napari_medssl.evaluate.cowpro.settings import ReproductionSettings
    from napari_medssl.evaluate.run import cases_of

    if args.list_settings:
        return list_settings(console, ReproductionSettings, base=_base(args))
    if not data or (args.given is None and args.out is None):
        console.problem("evaluate cowpro needs DATA and --out DIR, or DATA and --weights; see medssl evaluate --help")
        return 2
    settings = _settings(args)
    cases = [c for folder in data for c in cases_of(folder, only=args.only, labelled=True)]
    _check_out(args)
    device = choose_device(args.device)
    steps = reproduce_steps(cases, settings, out=args.out, weights=args.given, device=device)
    if args.given is None:
        _announce(settings, console)
        measured, notes = follow_training(console, steps, args.out, limit_minutes=1)  # its length is said above
    else:
        measured, notes = console.follow(steps), []
    facts = {"device": describe_device(device), "notes": notes}
    _report(args, settings, cases, measured, facts, console)
    return None


def _settings(args: argparse.Namespace) -> ReproductionSettings:
    from napari_medssl.cli.options import settings_from
    from napari_medssl.evaluate.cowpro.settings import ReproductionSettings

    short = [f"folds={args.folds}"] if args.folds is not None else ["folds=1"] if args.given is not None else []
    if args.start_from is not None:
        if args.given is not None:
            raise SettingsError("--start-from is for training and --weights is for none; give one of them")
        short.append(f"train.start_from={args.start_from}")
    return settings_from(ReproductionSettings, file=args.settings, assignments=[*short, *args.set], base=_base(args))


def _base(args: argparse.Namespace) -> ReproductionSettings:
    """The preset; given weights have their own input, for which windows keep their area."""
    from napari_medssl.evaluate.cowpro.settings import ReproductionSettings, preset

    return preset(args.preset) if args.given is None else ReproductionSettings()


def _check_out(args: argparse.Namespace) -> None:
    """A reproduction that is gone on with writes its own tables anew; others are not replaced unasked."""
    from napari_medssl.cli.outputs import check_outputs

    if args.out is None:
        return
    if args.given is not None and (args.out / "plan.json").exists():
        raise SettingsError(f"{args.out} holds the trainings of a reproduction; give another folder for --weights")
    if args.out.is_dir() and not (args.out / "plan.json").exists():
        check_outputs([args.out / name for name in _FILES], force=args.force)
    elif not args.out.is_dir():
        check_outputs([args.out], force=args.force)


def _announce(settings: ReproductionSettings, console: Console) -> None:
    groups = settings.groups.count("|") + 1 if settings.exclude == "group" else 1
    count = settings.folds * groups * (3 if settings.heads == "own" else 1)
    console.remark(
        f"{count} trainings of {settings.train.run.steps} steps, {settings.folds} folds; those that are finished in "
        "--out are not done again"
    )
    if settings.train.encoder == "resnet101-s8":
        console.remark("the thesis gives 4.5 hours for one of its trainings of 100,000 steps on a GPU of 24 GB")


def _report(
    args: argparse.Namespace,
    settings: ReproductionSettings,
    cases: list[Case],
    measured: Measured,
    facts: dict[str, Any],
    console: Console,
) -> None:
    import dataclasses

    from napari_medssl.cli.evaluate_cowpro_figure import draw
    from napari_medssl.evaluate.cowpro.averages import Scores
    from napari_medssl.evaluate.cowpro.tables import all_effects, all_tables
    from napari_medssl.io.folders import make_folder
    from napari_medssl.report import environment, write_report
    from napari_medssl.settings import to_dict

    scores = Scores(measured.scores)
    tables, effects = all_tables(scores), all_effects(scores, resamples=settings.resamples)
    people = {(s.fold, s.person) for s in measured.scores}
    summary = (
        f"{len(cases)} scans, {settings.folds} folds, {len(people)} people segmented; Dice in percent, "
        "organ's slices known (oracle); ± standard deviation over folds; thesis in brackets"
    )
    console.say(summary)
    for table in tables:
        console.say(f"\n{table.title}")
        console.table(("", *table.columns), [_cells(row) for row in table.rows])
    console.say("\nDifferences in points of Dice, with 95 % intervals over people")
    console.table(_EFFECT_HEAD, [_effect_cells(e) for e in effects], left=2)
    if args.out is None:
        return
    make_folder(args.out)
    per_slice = all_tables(Scores(measured.scores, per_slice=True))
    folds = [{"number": f.number, "test": [c.image.name for c in f.test]} for f in measured.folds]
    report = {**environment(), "command": ["medssl", *args.argv], **facts, "settings": to_dict(settings)}
    report |= {"weights": measured.weights, "folds": folds, "tables": [dataclasses.asdict(t) for t in tables]}
    report |= {"tables_of_mean_slice_dice": [dataclasses.asdict(t) for t in per_slice]}
    report |= {"effects": [dataclasses.asdict(e) | {"agrees": e.agrees} for e in effects]}
    report |= {"scores": [dataclasses.asdict(s) for s in measured.scores]}
    write_report(args.out / "cowpro.json", report)
    _write_page(args.out / "cowpro.md", summary, tables, effects)
    console.say(f"written: {args.out / 'cowpro.json'}\nwritten: {args.out / 'cowpro.md'}")
    draw(tables, effects, args.out / "cowpro.png", console)


_EFFECT_HEAD = ("difference", "organ", "ours", "95 % people", "n", "thesis", "direction")


def _cells(row: Row) -> tuple[str, ...]:
    return (row.name, *(_both(ours, thesis) for ours, thesis in zip(row.ours, row.thesis, strict=True)))


def _both(ours: Mean | None, thesis: float | None) -> str:
    """ "61.2 ± 3.4 (75.8)": ours, the spread over folds, the thesis'."""
    mine = "" if ours is None else f"{ours.value:.1f}"
    spread = "" if ours is None or ours.over_folds is None else f" ± {ours.over_folds:.1f}"
    theirs = "" if thesis is None else f" ({thesis:.1f})"
    return (mine + spread + theirs).strip() or "-"


def _effect_cells(effect: Effect) -> tuple[str, ...]:
    interval = effect.ours.interval
    ends = "-" if interval is None else f"{interval.low:+.1f} to {interval.high:+.1f}"
    thesis = "-" if effect.thesis is None else f"{effect.thesis:+.1f}"
    return effect.name, effect.organ, f"{effect.ours.value:+.1f}", ends, str(effect.ours.people), thesis, effect.agrees


def _write_page(path: Path, summary: str, tables: tuple[Table, ...], effects: tuple[Effect, ...]) -> None:
    """The tables in Markdown."""
    from napari_medssl.io.atomic import replacing

    parts = [summary]
    for table in tables:
        parts.append(f"**{table.title}**\n\n" + _markdown(("", *table.columns), [_cells(r) for r in table.rows]))
    parts.append("**Differences**\n\n" + _markdown(_EFFECT_HEAD, [_effect_cells(e) for e in effects]))
    with replacing(path) as (part,):
        part.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _markdown(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
