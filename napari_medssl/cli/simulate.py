"""`medssl simulate`: a simulated user labels, corrects, and is told how sure the result is."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_medssl.cli.arguments import add_compute, add_settings

if TYPE_CHECKING:
    from napari_medssl.bench.calibrating import Judgement
    from napari_medssl.bench.interaction import Course
    from napari_medssl.cli.console import Console
    from napari_medssl.engine import Engine
    from napari_medssl.train.dataset import Case

_SLICES = (1, 2, 3, 5)
_STROKES = (0, 1, 2, 3, 5)


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.epilog = (
        "slices: the organ's largest slice is labelled, then one after the other that a rule chooses.\n"
        "corrections: the largest slice is labelled, then the worst region is stroked over, again and again.\n"
        "calibration: how often labels are right beside the confidence in them; --fit fits it anew on DATA."
    )
    add = parser.add_argument
    named: dict[str, Any] = {"action": "append", "default": [], "metavar": "NAME"}
    add("data", type=Path, nargs="*", help="folders with images/ and labels/, or scans of them")
    add("--what", choices=("slices", "corrections", "calibration"), required=True)
    add("--rule", help="slices: suggest, furthest, middle, random or entropy; may be repeated (first four)", **named)
    add("--against", help="corrections: random-walker (our strokes) or random-walker-own (strokes of its own)", **named)
    routes = "calibration: labelled slices in the scan itself (default), or in another one"
    add("--route", choices=("within", "across"), default="within", help=routes)
    add("--fit", type=Path, metavar="FILE.json", help="calibration: fit on DATA, and write or extend FILE")
    add("--use", type=Path, metavar="FILE.json", help="calibration: judge these numbers instead of those shipped")
    add("--only", help="only scans named like this", **named)
    add("--exclude", help="no scan named like this", **named)
    add("--scans", type=int, default=0, metavar="N", help="at most N scans of each data set, spread evenly")
    add("--organs", default="", metavar="N,N", help="only organs of these label values")
    seed = "slices: of the random rule (0); corrections: the user takes one of the three worst regions by chance"
    add("--seed", type=int, help=seed)
    add("--out", type=Path, metavar="FILE.json", help="also write everything as a report")
    add("--force", action="store_true", help="replace a file that exists")
    add_compute(parser)
    add_settings(parser)


def run(args: argparse.Namespace, console: Console) -> int | None:
    """Simulate, and print a table."""
    from napari_medssl.cli.options import settings_from
    from napari_medssl.cli.outputs import check_outputs
    from napari_medssl.cli.settings_list import list_settings
    from napari_medssl.oneshot import SegmentSettings

    if args.list_settings:
        return list_settings(console, SegmentSettings)
    if not args.data:
        console.problem("simulate also needs DATA, folders with images/ and labels/; see medssl simulate --help")
        return 2
    check_outputs([path for path in (args.out,) if path is not None], force=args.force)
    settings = settings_from(SegmentSettings, file=args.settings, assignments=args.set)
    args.values = _values(args.organs)

    from napari_medssl.engine import Engine

    cases = _cases(args)
    with Engine(device=args.device, weights=args.weights) as engine:
        work = {"slices": _slices, "corrections": _corrections, "calibration": _calibration}[args.what]
        facts = work(args, cases, engine, settings, console)
        described = engine.describe()
    if args.out is not None:
        from napari_medssl.report import environment, write_report
        from napari_medssl.settings import to_dict

        common = {**environment(), "what": args.what, "settings": to_dict(settings), "engine": described}
        write_report(args.out, common | facts)
        console.say(f"written: {args.out}")
    return None


def _values(text: str) -> tuple[int, ...]:
    from napari_medssl.errors import SettingsError

    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise SettingsError(f"--organs {text!r} must be label values, such as 1,6") from error


def _cases(args: argparse.Namespace) -> list[Case]:
    """The labelled scans asked for; of each data set at most `--scans`, from its first to its last."""
    from napari_medssl.errors import FormatError
    from napari_medssl.train.dataset import cases_in

    found = [c for c in cases_in(args.data, exclude=args.exclude) if c.labels is not None]
    found = [c for c in found if not args.only or c.image.name.startswith(tuple(args.only))]
    if not found:
        raise FormatError("DATA has no labelled scan of these names; it needs images/ and labels/ with the same names")
    if args.scans < 1:
        return found
    chosen = []
    for group in dict.fromkeys(c.group for c in found):
        mine = [c for c in found if c.group == group]
        count = min(args.scans, len(mine))
        chosen += [mine[i * len(mine) // count] for i in range(count)]
    return chosen


def _slices(
    args: argparse.Namespace, cases: list[Case], engine: Engine, settings: Any, console: Console
) -> dict[str, Any]:
    from napari_medssl.bench.interaction import slices_steps

    rules = args.rule or ["suggest", "furthest", "middle", "random"]
    steps = slices_steps(
        cases, rules, engine=engine, count=max(_SLICES), organs=args.values, settings=settings, seed=args.seed or 0
    )
    courses = console.follow(steps)
    head = ("data", "rule", "organs", *(f"{n} slice{'s' * (n > 1)}" for n in _SLICES), "gain a slice", "elsewhere 5")
    rows = [(*row, _gain(mine), _mean([c.elsewhere[-1] for c in mine])) for row, mine in _rows(courses, 1, _SLICES)]
    console.table(head, rows, left=2)
    return {"courses": [vars(c) for c in courses]}


def _corrections(
    args: argparse.Namespace, cases: list[Case], engine: Engine, settings: Any, console: Console
) -> dict[str, Any]:
    from napari_medssl.bench.interaction import AGAINST, WALKER_OWN, corrections_steps

    against = [WALKER_OWN if name == "random-walker-own" else name for name in args.against]
    steps = corrections_steps(
        cases,
        engine=engine,
        count=max(_STROKES),
        against=against or AGAINST[:1],
        organs=args.values,
        settings=settings,
        seed=args.seed,
    )
    courses = console.follow(steps)
    head = ("data", "method", "organs", *(f"{n} stroke{'s' * (n != 1)}" for n in _STROKES), "seconds", "longest")
    console.table(head, [(*row, *_seconds(mine)) for row, mine in _rows(courses, 0, _STROKES)], left=2)
    return {"courses": [vars(c) for c in courses]}


def _calibration(
    args: argparse.Namespace, cases: list[Case], engine: Engine, settings: Any, console: Console
) -> dict[str, Any]:
    from napari_medssl.bench.calibrating import fit_steps, judge_steps
    from napari_medssl.oneshot.calibration import of_entry, read_calibrations, with_entry, write_calibrations

    used = None
    if args.fit is not None:
        known = read_calibrations(args.fit) if args.fit.exists() else []  # refused now rather than after the work
        entry = console.follow(fit_steps(cases, args.route, engine=engine, settings=settings))
        write_calibrations(args.fit, with_entry(known, entry))
        console.say(f"written: {args.fit}")
        return {"entry": entry}
    if args.use is not None:
        fitting = [e for e in read_calibrations(args.use) if e["route"] == args.route]
        exact = [e for e in fitting if e["weights"] == engine.weights_hash] or fitting
        if not exact:
            from napari_medssl.errors import SettingsError

            raise SettingsError(f"{args.use} has no numbers for the route {args.route}; fit them with --fit")
        used = of_entry(exact[-1])
    judged = console.follow(judge_steps(cases, args.route, engine=engine, calibration=used, settings=settings))
    head = ("data", "organs", "ECE voxels", "calibrated", "ECE slices", "calibrated", "Dice off", "calibrated")
    console.table(head, [_judged(j) for j in judged])
    return {"route": args.route, "judged": [j.facts() for j in judged]}


def _rows(courses: Sequence[Course], first: int, counts: Sequence[int]) -> list[tuple[tuple[str, ...], list[Course]]]:
    """A row per data set and way: Dice after so many steps, the mean over organs of means over scans."""
    rows = []
    for data, way in dict.fromkeys((c.data, c.way) for c in courses):
        mine = [c for c in courses if (c.data, c.way) == (data, way)]
        organs = sorted({c.organ for c in mine})
        cells = [_over_organs(mine, organs, n - first) for n in counts]
        rows.append(((data, way, str(len(mine)), *cells), mine))
    return rows


def _over_organs(courses: Sequence[Course], organs: Sequence[int], step: int) -> str:
    import numpy as np

    means = [np.nanmean([c.dice[step] for c in courses if c.organ == organ]) for organ in organs]
    return f"{float(np.mean(means)):.3f}"


def _gain(courses: Sequence[Course]) -> str:
    import numpy as np

    return f"{float(np.nanmean([(c.dice[-1] - c.dice[0]) / (len(c.dice) - 1) for c in courses])):.4f}"


def _mean(values: Sequence[float]) -> str:
    import numpy as np

    return f"{float(np.nanmean(values)):.3f}"


def _seconds(courses: Sequence[Course]) -> tuple[str, str]:
    import numpy as np

    seconds = [s for c in courses for s in c.seconds]
    return (f"{float(np.median(seconds)):.2f}", f"{max(seconds):.2f}") if seconds else ("-", "-")


def _judged(one: Judgement) -> tuple[str, ...]:
    facts = one.facts()
    pairs = [facts[name] for name in ("ece_voxels", "ece_slices", "dice_off")]
    cells = [pair[when] for pair in pairs for when in ("before", "after")]
    return (one.data, str(one.organs), *("-" if v is None else f"{v:.3f}" for v in cells))
