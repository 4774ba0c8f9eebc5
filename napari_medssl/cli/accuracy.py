"""`medssl accuracy`: Dice, distances and volumes on labelled scans, from few labelled slices."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_medssl.cli.arguments import add_compute, add_settings
from napari_medssl.errors import (
    FormatError,
    GeometryError,
    OutOfMemoryError,
    SettingsError,
    SupportError,
    VolumeError,
)

if TYPE_CHECKING:
    from napari_medssl.bench.accuracy import Examination, Protocol
    from napari_medssl.cli.accuracy_report import Record
    from napari_medssl.cli.console import Console
    from napari_medssl.engine import Engine

_SCANS_FAULT = (FormatError, GeometryError, VolumeError, SupportError, OutOfMemoryError)


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.epilog = (
        "within: one labelled slice, the organ's largest, of each scan itself.\n"
        "across: three labelled slices of the folder's last scan; 'in range' is then given the organ's own slices\n"
        "(the published, 'oracle' protocol), 'whole' is given nothing.\n"
        "A run that was stopped goes on from what is in --out."
    )
    parser.add_argument("data", type=Path, nargs="?", help="folder with images/ and labels/ of the same file names")
    parser.add_argument("--task", choices=("within", "across"), default="within", help="default: within")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="only scans named like this")
    parser.add_argument(
        "--from",
        action="append",
        default=[],
        dest="donors",
        metavar="NAME",
        help="across: only scans named like this are labelled",
    )
    parser.add_argument(
        "--supports",
        type=int,
        default=1,
        metavar="N",
        help="repeat with N choices of what is labelled: within other slices, across other patients",
    )
    parser.add_argument(
        "--slices", metavar="1,2,3", help="numbers of labelled slices to try; default: 1 within, 3 across"
    )
    parser.add_argument(
        "--against",
        metavar="NAMES",
        help="the same from the same labels by random-walker, random-walker-full, forest, copy (across: forest)",
    )
    parser.add_argument("--tolerance", type=float, metavar="MM", help="of the surface Dice; default: 3")
    parser.add_argument("--seed", type=int, default=0, help="of the random slices of --supports")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="also write every score as a report")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="also draw Dice by organ and by number of slices")
    parser.add_argument("--force", action="store_true", help="replace a file that exists")
    add_compute(parser)
    add_settings(parser)


def run(args: argparse.Namespace, console: Console) -> int | None:
    """Measure and print a row per organ."""
    from napari_medssl.bench.accuracy import Examination
    from napari_medssl.cli.accuracy_figure import draw_accuracy
    from napari_medssl.cli.accuracy_report import Record, check_record, organ_names
    from napari_medssl.cli.accuracy_tables import print_accuracy
    from napari_medssl.cli.options import settings_from
    from napari_medssl.cli.outputs import check_outputs
    from napari_medssl.cli.settings_list import list_settings
    from napari_medssl.engine import Engine
    from napari_medssl.oneshot import SegmentSettings

    if args.list_settings:
        return list_settings(console, SegmentSettings)
    if args.data is None:
        console.problem("accuracy also needs DATA, a folder with images/ and labels/; see medssl accuracy --help")
        return 2
    protocol = _protocol(args)
    if args.out is not None:
        check_record(args.out, force=args.force)
    if args.plot is not None:
        check_outputs([args.plot], force=args.force)
    settings = settings_from(SegmentSettings, file=args.settings, assignments=args.set)
    with Engine(device=args.device, weights=args.weights) as engine:
        record = Record(args.out, _asked(args, protocol, settings, engine), engine.describe(), force=args.force)
        examination = Examination(
            args.data, protocol, engine=engine, settings=settings, only=args.only, donors=args.donors
        )
        _measure(examination, record, console)
    names = organ_names(args.data)
    print_accuracy(record.scores, console, protocol, names)
    record.finish(protocol)
    if args.plot is not None:
        draw_accuracy(record.scores, args.plot, console, protocol, names)
    return 1 if record.skipped else None


def _protocol(args: argparse.Namespace) -> Protocol:
    from napari_medssl.bench.accuracy import Protocol
    from napari_medssl.metrics.segmentation import TOLERANCE_MM

    if args.donors and args.task != "across":
        raise SettingsError("--from names scans to learn from; it goes with --task across")
    return Protocol(
        args.task,
        args.supports,
        _counts(args.slices),
        tuple(name for name in (args.against or "").replace(" ", "").split(",") if name),
        TOLERANCE_MM if args.tolerance is None else args.tolerance,
        args.seed,
    )


def _counts(text: str | None) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",")) if text else ()
    except ValueError as error:
        raise SettingsError(f"--slices {text!r} are no numbers; write them with commas, such as 1,2,3") from error


def _asked(args: argparse.Namespace, protocol: Protocol, settings: Any, engine: Engine) -> dict[str, Any]:
    """What makes two runs the same question, so that one can go on with the other."""
    import dataclasses

    from napari_medssl import __version__
    from napari_medssl.settings import to_dict

    return {
        "data": args.data.resolve().name,
        **dataclasses.asdict(protocol),
        "only": args.only,
        "from": args.donors,
        "settings": to_dict(settings),
        "weights_sha256": engine.weights_hash,
        "version": __version__,
    }


def _measure(examination: Examination, record: Record, console: Console) -> None:
    """Every scan that is not in the record yet; one that cannot be used is named and left out."""
    if record.measured:
        console.remark(f"going on with {record.path}, which has {len(record.measured)} scans")
    for case in examination.cases:
        name = case.image.name
        if name in record.measured:
            continue
        try:
            scores = console.follow(examination.scan_steps(case))
        except _SCANS_FAULT as error:
            console.problem(f"left out {name}: {error}")
            record.skip(name, str(error))
            continue
        record.add(name, scores)
    if not record.scores:
        raise FormatError(
            "nothing could be measured: no scan could be used, or none shows an organ of 300 voxels on 3 slices "
            "and more slices than are labelled"
        )
