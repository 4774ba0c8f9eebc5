"""Arguments that training and evaluating exam classifiers share."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from napari_medssl.cli.arguments import add_settings

if TYPE_CHECKING:
    from napari_medssl.classify.exams.exam import ExamSet
    from napari_medssl.classify.exams.settings import ExamSettings
    from napari_medssl.cli.console import Console

KINDS = ("max", "attention", "sslacl", "skid", "skid-3dcnn", "noblocks", "mrnet", "binary")


def add_exams(parser: argparse.ArgumentParser) -> None:
    """Which exams and labels."""
    parser.add_argument(
        "labels", type=Path, nargs="?",
        help="a CSV with the columns file and labels, or a folder laid out as MRNet or KneeMRI",
    )  # fmt: skip
    parser.add_argument(
        "--images", type=Path, metavar="DIR", help="where the files of the table are; default: beside it"
    )
    parser.add_argument(
        "--label", action="append", default=[], metavar="COLUMN", help="label to learn; may be repeated (default: all)"
    )
    parser.add_argument("--exam-column", default="exam", metavar="NAME", help="column that joins scans to one exam")
    parser.add_argument("--plane-column", default="plane", metavar="NAME", help="column with plane, phase or sequence")


def add_classifier(parser: argparse.ArgumentParser) -> None:
    """Which classifier, from which weights."""
    parser.add_argument("--model", choices=KINDS, default="max", help="kind of classifier (default: max)")
    parser.add_argument("--thesis", action="store_true", help="at the published size, instead of one for a laptop")
    parser.add_argument(
        "--weights", help="encoder: a file of medssl pretrain, default, none, or first (first weights of --model)"
    )
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:N or mps")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="folder of prepared scans, which runs may share")
    add_settings(parser)


def exams_from(args: argparse.Namespace, console: Console) -> ExamSet:
    """The exams, with remarks on what they lack."""
    from napari_medssl.classify.exams.reading import open_exams

    exams = open_exams(
        args.labels, images=args.images, columns=args.label, exam=args.exam_column, plane=args.plane_column
    )
    for note in exams.notes:
        console.remark(note)
    return exams


def settings_of(args: argparse.Namespace) -> tuple[ExamSettings, str]:
    """The settings, and the weights to start from."""
    from napari_medssl.classify.exams.settings import ExamSettings, kind_named
    from napari_medssl.cli.options import settings_from

    kind = kind_named(args.model)
    base = kind.published if args.thesis else kind.small
    settings = settings_from(ExamSettings, file=args.settings, assignments=args.set, base=base)
    return settings, args.weights or kind.start or "first"
