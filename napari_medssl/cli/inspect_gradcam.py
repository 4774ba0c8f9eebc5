"""`medssl inspect gradcam`: where a network looks to solve its pretext task."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_medssl.cli.arguments import add_reading, add_settings, reading
from napari_medssl.errors import SettingsError

if TYPE_CHECKING:
    from napari_medssl.classify.explain.pretext_head import PretextEvidence
    from napari_medssl.cli.console import Console
    from napari_medssl.volume import Volume

LINE = "where in a scan a network looks to solve its pretext task, for every class"


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.epilog = (
        "RUN is a folder of medssl pretrain with rot3d, jigsaw3d, rubik, rubik-plus or rpl: its state has the heads.\n"
        "The map is 1 where the evidence for right answers is strongest, mean over classes; it says where, not\n"
        "whether. --check says how far to believe it. A finer layer is chosen by --set explain.layer=encoder.blocks.2"
    )
    parser.add_argument("run_folder", type=Path, nargs="?", metavar="RUN", help="folder of a pretraining run")
    parser.add_argument("image", type=Path, nargs="?", metavar="SCAN", help="scan or DICOM folder")
    parser.add_argument("--classes", metavar="A,B,...", help="numbers of classes; default: ten at even distances")
    parser.add_argument("--out", type=Path, metavar="FILE.nii.gz", help="the evidence, 0 to 1, on the scan's own grid")
    parser.add_argument("--each", action="store_true", help="also a file per class, FILE.class-N.nii.gz")
    parser.add_argument("--overlay", type=Path, metavar="PNG", help="also a picture of the strongest slices")
    parser.add_argument("--check", action="store_true", help="also with random weights, for the first class")
    parser.add_argument("--force", action="store_true", help="replace files that exist")
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:N or mps")
    add_reading(parser)
    add_settings(parser)


def run(args: argparse.Namespace, console: Console) -> int | None:
    """Explain, print, write."""
    from napari_medssl.classify.explain.pretext_head import PretextSettings
    from napari_medssl.cli.settings_list import list_settings

    if args.list_settings:
        return list_settings(console, PretextSettings)
    missing = [n for n, v in (("RUN", args.run_folder), ("SCAN", args.image), ("--out", args.out)) if v is None]
    if missing:
        console.problem(f"gradcam needs {', '.join(missing)}; see medssl inspect gradcam --help")
        return 2
    _explain(args, console)
    return None


def _explain(args: argparse.Namespace, console: Console) -> None:
    from napari_medssl.classify.explain.pretext_head import (
        PretextSettings,
        check_pretext_steps,
        classes_asked,
        explain_pretext_steps,
    )
    from napari_medssl.cli.options import settings_from
    from napari_medssl.cli.outputs import check_outputs
    from napari_medssl.engine.device import choose_device
    from napari_medssl.io import read
    from napari_medssl.io.formats import format_to_write
    from napari_medssl.report import report_path
    from napari_medssl.train.opened_run import open_run

    settings = settings_from(PretextSettings, file=args.settings, assignments=args.set)
    wished = _classes(args.classes)
    format_to_write(args.out)
    opened = open_run(args.run_folder, device=choose_device(args.device))
    classes = classes_asked(opened, wished, settings)
    each = [_class_path(args.out, c) for c in classes] if args.each else []
    wanted = [args.out, report_path(args.out), *each, *([args.overlay] if args.overlay else [])]
    check_outputs(wanted, inputs=[args.image], force=args.force)
    volume = read(args.image, **reading(args))
    found = console.follow(explain_pretext_steps(opened, volume, classes=classes, settings=settings))
    checks: dict[str, Any] = {}
    if args.check:
        checks = console.follow(check_pretext_steps(opened, volume, classes[0], settings=settings)).facts()
    _print(found, checks, volume, console)
    _write(args, volume, found, checks, console)


def _classes(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise SettingsError(f"--classes {text!r} must be whole numbers, such as 0,3,6") from error


def _class_path(out: Path, label: int) -> Path:
    from napari_medssl.io.formats import stem_of, suffix_of

    return out.with_name(f"{stem_of(out)}.class-{label}{suffix_of(out)}")


def _print(found: PretextEvidence, checks: dict[str, Any], volume: Volume, console: Console) -> None:
    report = found.report
    for note in (*volume.notes, *report["notes"]):
        console.remark(note)
    rows = []
    for label, one in report["classes"].items():
        place = "-" if one["peak"] is None else " ".join(f"{v:.0f}" for v in one["peak"]["ras_mm"])
        rows.append((label, one["name"], f"{one['right']:.2f}", place))
    console.table(("class", "name", "right", "strongest at (R A S mm)"), rows, left=2)
    console.say(
        f"{report['right']:.0%} of {report['questions']} answers right ({report['chance']:.0%} by guessing), "
        f"layer {report['layer']}, {report['seconds']:.1f} s"
    )
    if not report["solved"]:
        console.say("no better than guessing: the maps mean nothing; train longer")
    if checks:
        console.say(checks["sentence"])


def _write(
    args: argparse.Namespace, volume: Volume, found: PretextEvidence, checks: dict[str, Any], console: Console
) -> None:
    from napari_medssl.cli.evidence_picture import save_evidence
    from napari_medssl.io import write
    from napari_medssl.report import environment, report_path, write_report

    write(args.out, found.evidence)
    if args.each:
        for label, one in found.classes.items():
            write(_class_path(args.out, label), one.evidence)
    if args.overlay is not None:
        caption = f"where {found.report['method']} looks; research use only"
        save_evidence(args.overlay, volume, found.evidence, caption=caption)
    facts = {**environment(), "command": ["medssl", *args.argv], "image": args.image, **found.report}
    write_report(report_path(args.out), {**facts, "checks": checks})
    console.say(f"written: {args.out}" + (f", {args.overlay}" if args.overlay else ""))
