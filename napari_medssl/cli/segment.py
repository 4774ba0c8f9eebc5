"""`medssl segment`: organs of a whole scan from one or a few labelled slices."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_medssl.cli.arguments import add_compute, add_reading, add_settings, reading, slice_range

if TYPE_CHECKING:
    from napari_medssl.cli.console import Console
    from napari_medssl.volume import Volume

EXAMPLES = """
examples:
  medssl segment scan.nii.gz --support-mask liver_slice.nii.gz --out liver.nii.gz
  medssl segment patient2.nii.gz --support-image patient1.nii.gz --support-mask organs1.nii.gz --out organs2.seg.nrrd
  medssl segment --library liver.medssl scans/*.nii.gz --out results/
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.epilog = EXAMPLES
    parser.add_argument(
        "image", type=Path, nargs="*", help="the scan: a file, or a folder with a DICOM series; several with --library"
    )
    parser.add_argument(
        "--support-mask", type=Path, metavar="MASK", help="labels on one or a few slices, 0 on all slices not labelled"
    )
    parser.add_argument(
        "--support-image", type=Path, metavar="IMAGE2", help="the scan the mask was painted on, when it is another one"
    )
    parser.add_argument(
        "--library", type=Path, metavar="FILE.medssl", help="take the examples from there, the best-matching ones of "
        "each organ; see medssl library"
    )  # fmt: skip
    parser.add_argument("--examples", type=int, metavar="K", help="with --library: so many of each organ (0: all)")
    parser.add_argument("--organs", metavar="A,B,...", help="with --library: only these organs, by name or label")
    parser.add_argument("--ending", default=".nii.gz", help="with --library: of the results (default: .nii.gz)")
    parser.add_argument(
        "--out", type=Path, metavar="OUT", help="the mask to write; its ending chooses the format. With --library a "
        "folder, which need not exist"
    )  # fmt: skip
    parser.add_argument("--slices", metavar="LO:HI", help="segment slices LO to HI-1 only, counted from 0")
    parser.add_argument(
        "--soft", action="store_true", help="organs lie within --slices, but need not begin and end with them"
    )
    parser.add_argument("--truth", type=Path, metavar="MASK", help="known labels of the scan, to print Dice")
    parser.add_argument("--probability", action="store_true", help="also write the probability of every organ")
    parser.add_argument("--overlay", type=Path, metavar="PNG", help="also write a picture")
    parser.add_argument("--force", action="store_true", help="replace files that exist")
    add_reading(parser)
    add_compute(parser)
    add_settings(parser)


def run(args: argparse.Namespace, console: Console) -> int | None:
    """Read, segment, write, print."""
    from napari_medssl.cli.options import settings_from
    from napari_medssl.cli.settings_list import list_settings
    from napari_medssl.oneshot.settings import SegmentSettings

    if args.list_settings:
        return list_settings(console, SegmentSettings)
    wrong = _misused(args)
    if wrong:
        console.problem(f"{wrong}; see medssl segment --help")
        return 2
    if args.library is not None:
        from napari_medssl.cli.segment_many import segment_many

        return segment_many(args, console)
    (args.image,) = args.image
    settings = settings_from(SegmentSettings, file=args.settings, assignments=args.set)
    _segment(args, console, settings)
    return None


def _misused(args: argparse.Namespace) -> str:
    """What is missing or does not go together, as a sentence; empty when all is well."""
    if args.library is not None:
        for name in ("support_mask", "support_image", "truth", "overlay"):
            if getattr(args, name) is not None:
                return f"--{name.replace('_', '-')} does not go with --library"
    needed = [("IMAGE", args.image), ("--out", args.out)]
    if args.library is None:
        needed.insert(1, ("--support-mask or --library", args.support_mask))
    missing = [name for name, value in needed if not value]
    if missing:
        return f"segment also needs {', '.join(missing)}"
    if args.library is None and (args.examples is not None or args.organs):
        return "--examples and --organs need --library"
    if args.library is None and len(args.image) > 1:
        return f"{len(args.image)} scans were given; several need --library"
    return ""


def _segment(args: argparse.Namespace, console: Console, settings: Any) -> None:
    from napari_medssl.cli.organ_table import print_rows
    from napari_medssl.cli.outputs import check_outputs
    from napari_medssl.cli.segmenting import Job, Places, probability_paths, run_job, save
    from napari_medssl.engine import Engine
    from napari_medssl.geometry import align_to
    from napari_medssl.io import read
    from napari_medssl.io.formats import format_to_write
    from napari_medssl.oneshot import Support
    from napari_medssl.oneshot.result import recognised_as

    format_to_write(args.out)
    inputs = [p for p in (args.image, args.support_mask, args.support_image, args.truth) if p]
    check_outputs(Places(args.out, args.overlay).all(), inputs=inputs, force=args.force)
    query = _told(read(args.image, **reading(args)), console)
    scan = query if args.support_image is None else _told(read(args.support_image), console)
    mask = align_to(_told(read(args.support_mask, labels=True), console), scan)
    truth = None if args.truth is None else align_to(read(args.truth, labels=True), query).data
    support = Support(scan, mask.data, mask.labels)
    organs = [organ.value for organ in support.organs]
    places = Places(args.out, args.overlay, probability_paths(args.out, organs) if args.probability else {})
    check_outputs(places.all(), inputs=inputs, force=args.force)

    engine = Engine(device=args.device, weights=args.weights)
    job = Job(query, support, settings, slice_range(args.slices, query.shape[0], soft=args.soft), truth)
    done = run_job(engine, job, console)
    save(done, job, places, facts={"command": ["medssl", *args.argv]})
    for warning in done.result.report.get("warnings", ()):
        console.remark(str(warning))
    print_rows(console, done.rows, done.seconds)
    for value, known in done.result.report.get("recognised", {}).items():
        console.say(f"{done.result.report['organs'][value]}: recognised as {recognised_as(known)}")
    console.say(f"\nwritten: {args.out}" + (f", {args.overlay}" if args.overlay else ""))


def _told(volume: Volume, console: Console) -> Volume:
    """The volume itself, after telling what its reader had to assume."""
    for note in volume.notes:
        console.remark(f"{volume.source}: {note}")
    return volume
