"""`medssl convert`: a scan or mask into another format, on the same grid."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from napari_medssl.cli.arguments import add_reading, reading

if TYPE_CHECKING:
    from napari_medssl.cli.console import Console


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.add_argument("input", type=Path, help="a file, or a folder with a DICOM series")
    parser.add_argument(
        "output", type=Path, help="its ending chooses the format: .nii.gz, .nrrd, .mha, .npz, .seg.nrrd"
    )
    parser.add_argument("--labels", action="store_true", help="read whole-numbered labels with their names and colours")
    parser.add_argument("--force", action="store_true", help="replace files that exist")
    add_reading(parser)


def run(args: argparse.Namespace, console: Console) -> None:
    """Read, write, report."""
    import time

    from napari_medssl.cli.outputs import check_outputs
    from napari_medssl.io import describe_volume, read, write
    from napari_medssl.io.formats import format_to_write, suffix_of
    from napari_medssl.report import environment, report_path, write_report

    start = time.perf_counter()
    kind = format_to_write(args.output)
    report = report_path(args.output)
    check_outputs([args.output, report], inputs=[args.input], force=args.force)
    labels = args.labels or suffix_of(args.output) == ".seg.nrrd"
    volume = read(args.input, labels, **reading(args))
    write(args.output, volume)
    facts = {"source": args.input, "content_sha256": volume.content_hash, "volume": describe_volume(volume)}
    seconds = round(time.perf_counter() - start, 3)
    command = ["medssl", *args.argv]
    write_report(report, {**environment(), "command": command, "input": facts, "format": kind.name, "seconds": seconds})
    for note in volume.notes:
        console.remark(note)
    console.say(f"written: {args.output} ({kind.name}, {' x '.join(map(str, volume.shape))} voxels)")
