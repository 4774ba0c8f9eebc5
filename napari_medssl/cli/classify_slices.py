"""`medssl classify slices`: which slices show what, learned from marked slices or label maps."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from napari_medssl.cli import classify_slices_benchmark
from napari_medssl.cli.arguments import add_compute, add_reading, add_settings, reading

if TYPE_CHECKING:
    from napari_medssl.classify.slices.head import SliceHead
    from napari_medssl.classify.slices.scores import SliceScores
    from napari_medssl.classify.slices.sources import MarkedScans
    from napari_medssl.cli.console import Console
    from napari_medssl.engine import Engine
    from napari_medssl.progress import Steps

LINE = "find the slices that show something, from a few marked ones"
_Parts: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
_MARKS = (
    "a CSV with the columns file, slice and classes (rows without a slice speak of the whole scan), or a folder with "
    "images/ and labels/"
)
_MORE = "scans without marks, which say what is common"


def configure(parser: argparse.ArgumentParser) -> None:
    """What can be done, and the arguments of each."""
    parts = parser.add_subparsers(dest="slices_part", required=True, metavar="learn|score|benchmark")
    learn = _part(parts, "learn", "learn from marked slices", _learn)
    learn.add_argument("marks", type=Path, nargs="?", help=_MARKS)
    learn.add_argument("--images", type=Path, metavar="DIR", help="where the files of the CSV are; default: beside it")
    learn.add_argument(
        "--label", action="append", default=[], metavar="COLUMN", help="class of the CSV to learn; may be repeated"
    )
    learn.add_argument("--only", action="append", default=[], metavar="NAME", help="folder: only scans named like this")
    learn.add_argument("--more", type=Path, nargs="+", default=[], metavar="SCAN", help=_MORE)
    learn.add_argument("--out", type=Path, metavar="HEAD", help="file (.safetensors) or folder of the head")
    _common(learn)
    add_settings(learn)
    score = _part(parts, "score", "score every slice of scans", _score)
    score.add_argument("head", type=Path, help="file or folder of slices learn")
    score.add_argument("images", type=Path, nargs="+", metavar="SCAN", help="scans or DICOM folders")
    score.add_argument("--out", type=Path, metavar="FILE.csv", help="table with a row per slice")
    score.add_argument("--json", type=Path, metavar="FILE.json", help="report with the findings of every scan")
    score.add_argument("--gap", type=int, default=1, metavar="N", help="slices below the threshold that one finding "
                       "may hold (default: 1)")  # fmt: skip
    add_reading(score)
    _common(score)
    benchmark = _part(parts, "benchmark", classify_slices_benchmark.LINE, classify_slices_benchmark.run)
    classify_slices_benchmark.configure(benchmark)
    _quiet(benchmark)
    usages = (part.format_usage().removeprefix("usage: ").strip() for part in (learn, score, benchmark))
    parser.usage = "\n".join(usages)  # the help of classify shows the usage of its parts


def run(args: argparse.Namespace, console: Console) -> int | None:
    """The part that was asked for."""
    code: int | None = args.run_slices(args, console)
    return code


def _part(parts: _Parts, name: str, line: str, run: object) -> argparse.ArgumentParser:
    made = parts.add_parser(name, help=line, description=f"{line[0].upper()}{line[1:]}.")
    made.set_defaults(run_slices=run)
    return made


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--force", action="store_true", help="replace files that exist")
    add_compute(parser)
    _quiet(parser)


def _quiet(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-q", "--quiet", action="store_true", default=argparse.SUPPRESS, help="print results only, no progress"
    )


def _learn(args: argparse.Namespace, console: Console) -> int | None:
    from napari_medssl.classify.head_file import card_path, head_path, save_head
    from napari_medssl.classify.slices.learn import learn_slices_steps
    from napari_medssl.classify.slices.settings import LearnSettings
    from napari_medssl.cli.options import settings_from
    from napari_medssl.cli.outputs import check_outputs
    from napari_medssl.cli.settings_list import list_settings
    from napari_medssl.engine import Engine

    if args.list_settings:
        return list_settings(console, LearnSettings)
    if args.marks is None or args.out is None:
        console.problem("slices learn needs MARKS and --out HEAD; see medssl classify slices learn --help")
        return 2
    settings = settings_from(LearnSettings, file=args.settings, assignments=args.set)
    file = head_path(args.out)
    check_outputs([file, card_path(file)], force=args.force)
    with Engine(device=args.device, weights=args.weights) as engine:
        scans = console.follow(_marked(args, engine))
        head = console.follow(learn_slices_steps(scans.vectors, scans.marks, settings))
    for note in head.notes:
        console.remark(note)
    save_head(args.out, head, {"command": ["medssl", *args.argv], "marks": str(args.marks)})
    card = head.card
    console.say(f"learned {', '.join(head.classes)} from {card['marked_slices']} slices and {card['marked_exams']} "
                f"exams of {card['scans']} scans in {card['seconds']:.2f} s")  # fmt: skip
    console.say(f"written: {file}")
    return None


def _marked(args: argparse.Namespace, engine: Engine) -> Steps[MarkedScans]:
    from napari_medssl.classify.slices.sources import labelled_vectors_steps, table_vectors_steps
    from napari_medssl.classify.table import read_label_table
    from napari_medssl.evaluate.run import cases_of
    from napari_medssl.train.dataset import Case

    if args.marks.is_dir():
        more = [Case(path, None, "") for path in args.more]
        return labelled_vectors_steps(engine, [*cases_of(args.marks, only=args.only), *more])
    table = read_label_table(args.marks, images=args.images, labels=args.label)
    return table_vectors_steps(engine, table, more=args.more)


def _score(args: argparse.Namespace, console: Console) -> int | None:
    from napari_medssl.classify.head_file import load_head
    from napari_medssl.classify.slices.results import write_scores_csv, write_scores_json
    from napari_medssl.classify.slices.vectors import encoder_facts
    from napari_medssl.cli.outputs import check_outputs
    from napari_medssl.engine import Engine

    outputs = [path for path in (args.out, args.json) if path is not None]
    check_outputs(outputs, inputs=args.images, force=args.force)
    with Engine(device=args.device, weights=args.weights) as engine:
        head = load_head(args.head, encoder=encoder_facts(engine))
        scores = console.follow(_scores(args, head, engine))
    for note in head.notes:
        console.remark(note)
    _print_findings(head, scores, console, gap=args.gap)
    if args.out is not None:
        write_scores_csv(args.out, scores)
    if args.json is not None:
        write_scores_json(args.json, head, scores)
    for path in outputs:
        console.say(f"written: {path}")
    return None


def _scores(args: argparse.Namespace, head: SliceHead, engine: Engine) -> Steps[dict[str, SliceScores]]:
    from napari_medssl.classify.slices.vectors import slice_vectors_steps
    from napari_medssl.io import read
    from napari_medssl.progress import Progress

    found: dict[str, SliceScores] = {}
    for number, path in enumerate(args.images):
        yield Progress(number, len(args.images), "scoring", path.name)
        found[str(path)] = head.scores((yield from slice_vectors_steps(engine, read(path, **reading(args)))))
    return found


def _print_findings(head: SliceHead, scores: dict[str, SliceScores], console: Console, *, gap: int) -> None:
    from napari_medssl.classify.slices.findings import findings

    rows = [
        (scan, f.name, f"{f.first}-{f.last}", str(f.peak), f"{f.probability:.3f}", f"{f.spread:.3f}")
        for scan, found in scores.items()
        for f in findings(found, head.threshold_of, gap=gap)
    ]
    if not rows:
        console.say("nothing is found on any slice, by the thresholds of the head")
        return
    console.table(("scan", "class", "slices", "peak", "probability", "spread"), rows, left=2)
