"""`medssl classify evaluate`: how good an exam classifier is, or would be."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_medssl.cli.classify_arguments import add_classifier, add_exams, exams_from, settings_of
from napari_medssl.errors import SettingsError

if TYPE_CHECKING:
    from napari_medssl.classify.exams.exam import ExamSet
    from napari_medssl.cli.console import Console

LINE = "judge a trained classifier, or a kind of classifier by cross-validation"

_FILES = ("classify.json", "classify.png")


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    add_exams(parser)
    parser.add_argument("--head", type=Path, metavar="DIR", help="judge this classifier, on people it has not seen")
    parser.add_argument("--folds", type=int, default=5, metavar="N", help="folds of the cross-validation (default: 5)")
    parser.add_argument("--no-scratch", action="store_true", help="leave out training from scratch, the slowest part")
    parser.add_argument("--masks", type=Path, metavar="DIR", help="label maps, whose volumes are another baseline")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for classify.json and classify.png")
    parser.add_argument("--force", action="store_true", help="replace files that exist")
    add_classifier(parser)
    parser.epilog = (
        "Without --head every exam is judged once, by models that saw nobody's other exam. Beside the classifier\n"
        "stand the same with first weights, from scratch, volumes of organs (--masks), and guessing."
    )


def run(args: argparse.Namespace, console: Console) -> int | None:
    """Judge, print, write."""
    from napari_medssl.classify.exams.settings import ExamSettings
    from napari_medssl.cli.outputs import check_outputs
    from napari_medssl.cli.settings_list import list_settings

    settings, weights = settings_of(args)
    if args.list_settings:
        return list_settings(console, ExamSettings, base=settings)
    if args.labels is None:
        console.problem("classify evaluate needs LABELS; see medssl classify evaluate --help")
        return 2
    if args.out is not None:
        check_outputs([args.out / n for n in _FILES] if args.out.is_dir() else [args.out], force=args.force)
    exams = exams_from(args, console)
    if args.head is not None:
        _judge_head(args, exams, console)
    else:
        _cross_validate(args, exams, settings, weights, console)
    return None


def _judge_head(args: argparse.Namespace, exams: ExamSet, console: Console) -> None:
    import numpy as np

    from napari_medssl.classify.exams.judging import judge
    from napari_medssl.classify.exams.model import score_all
    from napari_medssl.classify.exams.model_file import load_exam_model
    from napari_medssl.classify.exams.people import strangers
    from napari_medssl.classify.exams.scans import load_exams
    from napari_medssl.engine.device import choose_device

    model = load_exam_model(args.head)
    if (exams.kind, exams.labels) != (model.kind, model.labels):
        raise SettingsError(
            f"{args.head} tells {', '.join(model.labels)}, but {args.labels} has {', '.join(exams.labels)}; "
            "choose the same with --label"
        )
    numbers = strangers(exams, model.card)
    if not len(numbers):
        raise SettingsError(f"{args.head} was made from everybody in {args.labels}; judge it on other people")
    if len(numbers) < len(exams.exams):
        console.remark(f"{len(exams.exams) - len(numbers)} exams of people it was made from are left out")
    chosen = exams.only(numbers)
    scans = console.follow(load_exams(chosen, model.source.size, cache=args.cache))
    steps = score_all(model, scans, np.arange(len(chosen.exams)), device=choose_device(args.device))
    scores = console.follow(steps)
    probability, answers = np.array([s.probability for s in scores]), np.array([s.answer for s in scores])
    found = judge(
        chosen.targets, probability, answers, kind=model.kind, labels=model.labels, people=chosen.people
    )  # fmt: skip
    spreads = np.array([s.spread for s in scores])
    _report(args, chosen, [(str(args.head), found, probability, spreads)], {"card": model.card}, console)


def _cross_validate(
    args: argparse.Namespace, exams: ExamSet, settings: Any, weights: str, console: Console
) -> None:  # fmt: skip
    from napari_medssl.classify.exams.crossval import cross_validate_steps
    from napari_medssl.classify.exams.network import find_encoder
    from napari_medssl.classify.exams.scans import load_exams
    from napari_medssl.engine.device import choose_device, describe_device
    from napari_medssl.settings import to_dict

    device = choose_device(args.device)
    source = find_encoder(weights, settings)
    scans = console.follow(load_exams(exams, source.size, cache=args.cache))
    steps = cross_validate_steps(
        exams, scans, settings, source=source, folds=args.folds, scratch=not args.no_scratch, masks=args.masks,
        device=device,
    )  # fmt: skip
    rows = console.follow(steps)
    facts = {"model": args.model, "folds": args.folds, "settings": to_dict(settings), "device": describe_device(device)}
    facts |= {"encoder": {"name": source.name, "sha256": source.sha256}}
    facts |= {"seconds": {r.name: round(r.seconds, 1) for r in rows}}
    _report(args, exams, [(r.name, r.judgement, r.probability, r.spread) for r in rows], facts, console)


def _report(
    args: argparse.Namespace, exams: ExamSet, rows: list[tuple[str, Any, Any, Any]], facts: dict[str, Any],
    console: Console,
) -> None:  # fmt: skip
    from napari_medssl.cli.classify_report import draw_rows, judgement_facts, print_judgements
    from napari_medssl.io.folders import make_folder
    from napari_medssl.report import environment, write_report

    console.say(f"{len(exams.exams)} exams of {len(set(exams.people))} people")
    print_judgements(console, [(name, judgement) for name, judgement, _, _ in rows])
    if args.out is None:
        return
    make_folder(args.out)
    scores = {
        name: {
            e.name: {"probability": p, "spread": s} for e, p, s in zip(exams.exams, probability, spread, strict=True)
        }
        for name, _, probability, spread in rows
    }
    report = {**environment(), "command": ["medssl", *args.argv], **facts, "labels": exams.labels}
    report |= {"rows": {name: judgement_facts(j) for name, j, _, _ in rows}, "scores": scores}
    write_report(args.out / "classify.json", report)
    console.say(f"written: {args.out / 'classify.json'}")
    draw_rows(exams.targets, exams.labels, [(n, p) for n, _, p, _ in rows], args.out / "classify.png", console)
