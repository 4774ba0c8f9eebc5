"""`medssl evaluate`: how good an encoder is, beside first weights and training from scratch."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_medssl.cli import evaluate_cowpro, evaluate_voxels
from napari_medssl.cli.arguments import add_settings
from napari_medssl.errors import SettingsError

if TYPE_CHECKING:
    from napari_medssl.cli.console import Console
    from napari_medssl.evaluate.candidate import Candidate
    from napari_medssl.evaluate.compare import Row
    from napari_medssl.evaluate.run import EvaluateSettings

_ANALYSE = "analyse"
_PROTOCOLS = ("knn", "probe", "finetune")


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.usage = (
        "medssl evaluate WEIGHTS... --data DIR [...]\n       medssl evaluate analyse WEIGHTS... --data DIR [...]\n"
        "       medssl evaluate voxels|landmarks WEIGHTS... --data DIR [...]\n"
        "       medssl evaluate cowpro DATA... --out DIR [...]"
    )
    parser.epilog = (
        "tasks: presence, which organs a slice shows (needs labels/); dense, which organ a feature cell lies on;\n"
        "position, where in the scan a slice lies (no labels); exams, the group of a scan (--table); oneshot, Dice\n"
        "from three labelled slices of another patient, by prototypes.\n"
        "protocols: knn and probe on frozen features; finetune (--set compare.fit.mode=frozen, warm-up, gradual\n"
        "or full).\n"
        "Beside each number stand the same architecture with first weights and trained from scratch on the labels.\n"
        "analyse: scores without labels; with two weights of one input also the similarity of their layers.\n"
        "voxels, landmarks: what dense features of volume encoders know, see docs/weights3d.md.\n"
        "cowpro: the thesis' tables 7.1 to 7.4; trains on folds of DATA, or scores --weights. A reproduction found in\n"
        "--out is gone on with."
    )
    parser.add_argument("weights", nargs="*", help="default, none, another installed set, or files")
    parser.add_argument("--data", type=Path, action="append", default=[], metavar="DIR", help="scans; may be repeated")
    tasks = ("presence", "dense", "position", "exams", "oneshot")
    parser.add_argument("--task", choices=tasks, default="presence", help="default: presence")
    parser.add_argument(
        "--protocol", action="append", choices=_PROTOCOLS, default=[], help="may be repeated; default: knn and probe"
    )
    parser.add_argument("--shares", metavar="A,B,...", help="shares of the labels, such as 0.01,0.05,0.1,0.5,1")
    parser.add_argument("--seeds", type=int, metavar="N", help="repetitions with other folds and first weights")
    parser.add_argument("--no-scratch", action="store_true", help="leave out training from scratch, the slowest part")
    parser.add_argument("--table", type=Path, metavar="FILE.csv", help="exams: columns file, group and perhaps subject")
    parser.add_argument("--column", default="group", help="exams: column with the group (default: group)")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="only scans named like this")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for evaluate.json and evaluate.png")
    parser.add_argument("--force", action="store_true", help="replace files that exist")
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:N or mps")
    evaluate_cowpro.add_arguments(parser)
    add_settings(parser)


def run(args: argparse.Namespace, console: Console) -> int | None:
    """Evaluate, analyse or reproduce, print tables, write report and figure."""
    if args.weights[:1] == [evaluate_cowpro.COWPRO]:
        data = [*map(Path, args.weights[1:]), *args.data]
        return evaluate_cowpro.evaluate_cowpro(args, data, console)
    if args.weights and args.weights[0] in evaluate_voxels.QUESTIONS:
        return evaluate_voxels.evaluate_dense(args, console)
    from napari_medssl.cli.settings_list import list_settings
    from napari_medssl.evaluate.analyse import AnalyseSettings
    from napari_medssl.evaluate.run import EvaluateSettings

    analysing = bool(args.weights) and args.weights[0] == _ANALYSE
    names = args.weights[1:] if analysing else args.weights
    if args.list_settings:
        return list_settings(console, AnalyseSettings if analysing else EvaluateSettings)
    if not names or not args.data:
        console.problem("evaluate also needs WEIGHTS and --data DIR; see medssl evaluate --help")
        return 2
    if args.out is not None:
        _check_out(args.out, force=args.force)
    if analysing:
        from napari_medssl.cli.evaluate_analysis import analyse

        analyse(args, names, console)
    elif args.task == "oneshot":
        from napari_medssl.cli.evaluate_oneshot import one_shot

        one_shot(args, names, console)
    else:
        _compare(args, names, console)
    return None


def _compare(args: argparse.Namespace, names: list[str], console: Console) -> None:
    import dataclasses

    from napari_medssl.cli.evaluate_figure import draw_rows
    from napari_medssl.cli.evaluate_report import weights_facts, write_out
    from napari_medssl.engine.device import choose_device, describe_device, policy_for
    from napari_medssl.evaluate.candidate import load_candidates
    from napari_medssl.evaluate.run import evaluate_steps
    from napari_medssl.settings import to_dict

    settings = _settings(args)
    policy = policy_for(choose_device(args.device))
    candidates = load_candidates(names, policy, size=settings.size, thickness=settings.thickness)
    protocols = args.protocol or ["knn", "probe"]
    _remark_on(candidates, protocols, settings, console)
    rows: list[Row] = []
    for folder in args.data:
        steps = evaluate_steps(
            candidates, folder, args.task, protocols, settings,
            policy=policy, only=args.only, table=args.table, column=args.column,
        )  # fmt: skip
        rows += console.follow(steps)
    console.table(_head(rows), [_cells(r) for r in rows], left=3)
    if args.out is not None:
        facts: dict[str, Any] = {"task": args.task, "settings": to_dict(settings), "weights": weights_facts(candidates)}
        facts |= {"device": describe_device(policy.device), "rows": [dataclasses.asdict(r) for r in rows]}
        write_out(args, facts)
        draw_rows(rows, args.out / "evaluate.png", console)


def _settings(args: argparse.Namespace) -> EvaluateSettings:
    """The settings; the short options stand for those of the same meaning."""
    from napari_medssl.cli.options import settings_from
    from napari_medssl.evaluate.run import EvaluateSettings

    short = [] if args.shares is None else [f"compare.shares={args.shares}"]
    short += [] if args.seeds is None else [f"compare.seeds={args.seeds}"]
    short += ["compare.scratch=false"] if args.no_scratch else []
    settings = settings_from(EvaluateSettings, file=args.settings, assignments=[*args.set, *short])
    wrong = [s for s in settings.compare.shares if not 0 < s <= 1]
    if wrong or not settings.compare.shares:
        raise SettingsError(f"shares of labels are above 0 and at most 1, such as 0.01,0.1,1; got {wrong or 'none'}")
    return settings


def _remark_on(candidates: list[Candidate], protocols: list[str], settings: EvaluateSettings, console: Console) -> None:
    compare = settings.compare
    if compare.scratch and any(c.learns for c in candidates):
        runs = compare.seeds * compare.folds * len(compare.shares)
        console.remark(
            f"training from scratch for comparison: {runs} runs of {compare.fit.steps} steps per architecture and data "
            "set; --no-scratch leaves it out, --set size=96 makes it quicker"
        )
    for candidate in candidates:
        if not candidate.learns:
            left_out = " It cannot be fine-tuned, so it has no such row." if "finetune" in protocols else ""
            console.remark(f"{candidate.name} has no weights to learn, so it has no baselines of its own.{left_out}")


def _check_out(out: Path, *, force: bool) -> None:
    from napari_medssl.cli.outputs import check_outputs

    names = ("evaluate.json", "evaluate.png")
    check_outputs([out / n for n in names] if out.is_dir() else [out], force=force)


def _head(rows: list[Row]) -> tuple[str, ...]:
    main = rows[0].main
    extra = _EXTRA[main]
    return ("data", "weights", "protocol", "labels", "people", _NAMES[main], "90 % patients", "95 % seeds",
            *(_NAMES[m] for m in extra), "seconds")  # fmt: skip


_EXTRA = {"auc": ("balanced accuracy", "f1", "sensitivity", "specificity"), "mae": ("rmse", "r2"), "dice": ()}
_NAMES = {
    "auc": "AUC", "mae": "MAE", "dice": "Dice", "rmse": "RMSE", "r2": "R2", "f1": "F1",
    "balanced accuracy": "bal. acc.", "sensitivity": "sens.", "specificity": "spec.",
}  # fmt: skip


def _cells(row: Row) -> tuple[str, ...]:
    def ends(interval: Any) -> str:
        return "-" if interval is None else f"{interval.low:.3f}-{interval.high:.3f}"

    def number(value: float | None) -> str:
        return "-" if value is None else f"{value:.3f}"

    return (
        row.data, row.weights, row.protocol, f"{row.labelled:.0f}", f"{row.people:.0f}", number(row.value),
        ends(row.over_patients[0]), ends(row.over_seeds),
        *(number(row.measures[m].value) for m in _EXTRA[row.main]), f"{row.seconds:.1f}",
    )  # fmt: skip
