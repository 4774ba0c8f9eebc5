"""`medssl classify train`: an exam classifier from labelled exams."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_medssl.cli.classify_arguments import add_classifier, add_exams, exams_from, settings_of

if TYPE_CHECKING:
    from napari_medssl.cli.console import Console

LINE = "learn labels of whole exams from a table"


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    add_exams(parser)
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for the classifier")
    parser.add_argument("--no-scratch", action="store_true", help="leave out training from scratch for comparison")
    parser.add_argument("--force", action="store_true", help="replace a classifier that is there")
    add_classifier(parser)
    parser.epilog = (
        "People are divided into those learned from, those tuned on (thresholds, votes of planes, calibration) and\n"
        "those tested, --set tuning_share=0.2 --set test_share=0.2. The same command goes on with an interrupted run."
    )


def run(args: argparse.Namespace, console: Console) -> int | None:
    """Train, judge on people kept aside, save."""
    from napari_medssl.classify.exams.model_file import HEAD
    from napari_medssl.classify.exams.settings import ExamSettings
    from napari_medssl.cli.outputs import check_outputs
    from napari_medssl.cli.settings_list import list_settings
    from napari_medssl.io.folders import make_folder

    settings, weights = settings_of(args)
    if args.list_settings:
        return list_settings(console, ExamSettings, base=settings)
    if args.labels is None or args.out is None:
        console.problem("classify train needs LABELS and --out DIR; see medssl classify train --help")
        return 2
    if args.out.is_dir():
        check_outputs([args.out / HEAD], force=args.force)
    exams = exams_from(args, console)
    make_folder(args.out)
    _train(args, exams, settings, weights, console)
    return None


def _train(args: argparse.Namespace, exams: Any, settings: Any, weights: str, console: Console) -> None:
    from napari_medssl.classify.exams.learning import learn_steps
    from napari_medssl.classify.exams.model_file import save_exam_model
    from napari_medssl.classify.exams.network import find_encoder
    from napari_medssl.classify.exams.scans import load_exams
    from napari_medssl.classify.exams.split import divide_exams
    from napari_medssl.cli.training import follow_training
    from napari_medssl.engine.device import choose_device

    device = choose_device(args.device)
    source = find_encoder(weights, settings)
    console.remark(f"{args.model} on {source.name}, {len(exams.exams)} exams of {len(set(exams.people))} people")
    if source.module is None and settings.mode == "frozen":
        console.remark(
            "the encoder has first weights and stays as it is; give those of medssl pretrain with --weights, or train "
            "it with --set mode=full"
        )
    scans = console.follow(load_exams(exams, source.size, cache=args.cache))
    parts = divide_exams(exams, tuning=settings.tuning_share, test=settings.test_share, seed=settings.seed)
    common: dict[str, Any] = {"source": source, "train": parts.train, "tuning": parts.tuning, "device": device}
    learned, states = [], []
    for name, scratch in (("state", False), *((("state-scratch", True),) if not args.no_scratch else ())):
        state = args.out / name
        state.mkdir(exist_ok=True)
        steps = learn_steps(exams, scans, settings, state=state, scratch=scratch, **common)
        model, _ = follow_training(console, steps, args.out, limit_minutes=1)
        learned.append((f"{source.kind}, from scratch" if scratch else source.name, model))
        states.append(state)
    facts = _judge(args, exams, scans, parts, learned, device, console)
    model = learned[0][1]
    from dataclasses import replace

    path = save_exam_model(args.out, replace(model, card=model.card | {"test": facts}))
    _forget(states)
    _say(model, console)
    console.say(f"written: {path}\nuse it: medssl classify predict {args.out} SCAN... --out scores.csv")


def _judge(
    args: argparse.Namespace, exams: Any, scans: Any, parts: Any, learned: list[tuple[str, Any]], device: Any,
    console: Console,
) -> dict[str, Any]:  # fmt: skip
    """Print how good each is on the people kept aside; what the report says of it."""
    import numpy as np

    from napari_medssl.classify.exams.judging import judge
    from napari_medssl.classify.exams.model import score_all
    from napari_medssl.cli.classify_report import draw_rows, judgement_facts, print_judgements

    if not len(parts.test):
        console.remark("nobody was kept aside for a test, so nothing is known of how good the classifier is")
        return {}
    truth, people = exams.targets[parts.test], exams.people[parts.test]
    rows, drawn = [], []
    for name, model in learned:
        scores = console.follow(score_all(model, scans, parts.test, device=device))
        probability = np.array([s.probability for s in scores])
        answers = np.array([s.answer for s in scores])
        rows.append((name, judge(truth, probability, answers, kind=exams.kind, labels=exams.labels, people=people)))
        drawn.append((name, probability))
    console.say(f"on {len(truth)} exams of {len(set(people))} people that were neither learned from nor tuned on")
    print_judgements(console, rows)
    draw_rows(truth, exams.labels, drawn, args.out / "test.png", console)
    return {name: judgement_facts(judgement) for name, judgement in rows}


def _say(model: Any, console: Console) -> None:
    if len(model.planes) > 1:
        rows = [(p, *(f"{w:.3f}" for w in model.votes[n])) for n, p in enumerate(model.planes)]
        console.say("\nvotes of the planes")
        console.table(("plane", *model.labels), rows)
    counts = model.card["parameters"]
    console.say(f"parameters: {counts['head']:,} in the head, {counts['network']:,} in the network of a plane")
    for note in model.card["notes"]:
        console.remark(note)


def _forget(states: list[Path]) -> None:
    """The states of runs that are finished: their weights are in the classifier now."""
    for folder in states:
        for file in folder.glob("plane-*.safetensors"):
            file.unlink()
        folder.rmdir()
