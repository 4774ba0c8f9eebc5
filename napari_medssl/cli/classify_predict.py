"""`medssl classify predict`: what a trained classifier says of exams."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_medssl.classify.exams.given import GivenScan
    from napari_medssl.classify.exams.model import ExamModel, ExamScore
    from napari_medssl.cli.console import Console

LINE = "score exams with a trained classifier"


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.add_argument("head", type=Path, help="folder of medssl classify train")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="scans or DICOM folders, perhaps as PLANE=PATH")
    parser.add_argument("--out", type=Path, metavar="FILE.csv", help="table of the scores")
    parser.add_argument("--exam", default="", metavar="NAME", help="all images are planes of this one exam")
    parser.add_argument("--cam", type=Path, metavar="DIR", help="also write where the evidence lies, a map per label")
    parser.add_argument("--force", action="store_true", help="replace files that exist")
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:N or mps")


def run(args: argparse.Namespace, console: Console) -> int | None:
    """Score, print, write."""
    import dataclasses

    from napari_medssl.classify.exams.given import open_given
    from napari_medssl.classify.exams.model_file import load_exam_model
    from napari_medssl.classify.exams.tables import score_cells, score_columns, write_scores
    from napari_medssl.cli.outputs import check_outputs
    from napari_medssl.engine.device import choose_device
    from napari_medssl.io.folders import make_folder
    from napari_medssl.progress import finish
    from napari_medssl.report import environment, report_path, write_report

    if args.out is not None:
        check_outputs([args.out], inputs=[Path(i) for i in args.images], force=args.force)
    model = load_exam_model(args.head)
    device = choose_device(args.device)
    given = open_given(args.images, model.planes, exam=args.exam)
    exams: dict[str, list[GivenScan]] = {}
    for scan in given:
        exams.setdefault(scan.exam, []).append(scan)
    if args.cam is not None:
        make_folder(args.cam)
        _check_maps(args, model, exams)
    scores: dict[str, ExamScore] = {}
    for name, scans in exams.items():
        framed = _framed(scans, model.source.size)
        score = console.follow(model.score_steps(framed, device=device))
        scores[name] = score
        missing = [p for p in model.planes if p not in framed]
        if missing:
            console.remark(f"{name} has no {' and no '.join(missing)} scan; the other planes vote without it")
        if args.cam is not None:
            for scan in scans:
                finish(_maps(args.cam, model, scan, score, device))
    console.table(score_columns(model.labels, model.planes),
                  [score_cells(n, s, model.labels, model.planes) for n, s in scores.items()])  # fmt: skip
    if args.out is not None:
        write_scores(args.out, scores, model.labels, model.planes)
        facts = {**environment(), "command": ["medssl", *args.argv], "head": args.head, "card": model.card}
        notes = {s.path: list(s.volume.notes) for s in given if s.volume.notes}
        facts |= {"labels": model.labels, "scores": {n: dataclasses.asdict(s) for n, s in scores.items()}}
        write_report(report_path(args.out), facts | {"thresholds": model.thresholds, "notes": notes})
        console.say(f"written: {args.out}")
    return None


def _framed(scans: list[GivenScan], size: int) -> dict[str, Any]:
    from napari_medssl.train.grid import Grid
    from napari_medssl.train.store import prepare_volume

    return {s.plane: prepare_volume(s.volume, Grid(size=size), name=s.path.name, group=s.plane) for s in scans}


def _map_path(folder: Path, scan: GivenScan, label: str) -> Path:
    words = [scan.exam, *([scan.plane] if scan.plane else []), label.replace("/", "-").replace(" ", "-")]
    return folder / f"{'_'.join(words)}.nii.gz"


def _check_maps(args: argparse.Namespace, model: ExamModel, exams: dict[str, list[GivenScan]]) -> None:
    from napari_medssl.cli.outputs import check_outputs

    check_outputs(
        [_map_path(args.cam, s, label) for scans in exams.values() for s in scans for label in model.labels],
        force=args.force,
    )


def _maps(folder: Path, model: ExamModel, scan: GivenScan, score: ExamScore, device: Any) -> Any:
    """Grad-CAM of each label on the last maps of the encoder, laid onto the scan's own grid."""
    from napari_medssl.classify.exams.evidence import evidence_steps
    from napari_medssl.io import write

    for number, label in enumerate(model.labels):
        found = yield from evidence_steps(model, scan.plane, scan.volume, number, device=device)
        write(_map_path(folder, scan, label), found.evidence)
