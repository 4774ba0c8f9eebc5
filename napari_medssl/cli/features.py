"""`medssl features`: dense features of any number of scans: grids, colours, likeness, embeddings."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from napari_medssl.cli.arguments import add_reading, add_settings

if TYPE_CHECKING:
    from napari_medssl.cli.console import Console

WHATS = ("grid", "pca", "embedding", "similarity")
_ONLY = {  # argument to the product it belongs to
    "colours": "pca", "at": "similarity", "region": "similarity", "label": "similarity", "source": "similarity",
    "regions": "embedding",
}  # fmt: skip

EXAMPLES = """
examples:
  medssl features scans/ --out grids/
  medssl features scans/*.nii.gz --out coloured/ --what pca
  medssl features a.nii.gz b.nii.gz --out likeness/ --what similarity --at -52 14 30.5
  medssl features images/ --out table/ --what embedding --regions labels/ --workers 4

A run that was interrupted goes on when it is repeated: what is there from the same scan, weights and settings is not
made again. The exit code is 1 when a scan failed; the others are not affected.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.epilog = EXAMPLES
    parser.add_argument("images", type=Path, nargs="*", metavar="IMAGE", help="scans, DICOM folders, folders of scans")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for the results, which need not exist")
    parser.add_argument("--what", choices=WHATS, default="grid", help="grid: the features themselves (default); pca: "
                        "their components as colours; embedding: a table, a row per scan and region; similarity: "
                        "likeness to a point or region")  # fmt: skip
    parser.add_argument("--ending", help="of the results: .zarr or .npz (grid), .csv or .parquet (embedding), .nii.gz, "
                        ".nrrd, ... (pca, similarity); default: the first")  # fmt: skip
    parser.add_argument("--colours", type=Path, metavar="FILE", help="pca: colours.npz of an earlier run, so that "
                        "colours mean the same; otherwise they are fitted on the first scan")  # fmt: skip
    parser.add_argument("--at", type=float, nargs=3, action="append", default=[], metavar=("X", "Y", "Z"),
                        help="similarity: to the point at these RAS mm; may be repeated")  # fmt: skip
    parser.add_argument("--region", type=Path, metavar="MASK", help="similarity: to what is labelled there")
    parser.add_argument("--label", type=int, metavar="N", help="the label of MASK (default: all that is not 0)")
    parser.add_argument("--from", type=Path, dest="source", metavar="SCAN", help="similarity: the scan of the point or "
                        "region (default: the first IMAGE)")  # fmt: skip
    parser.add_argument("--regions", type=Path, nargs="+", default=[], metavar="MASK", help="embedding: label maps, in "
                        "the order of the scans, or a folder of maps named like them")  # fmt: skip
    parser.add_argument("--force", action="store_true", help="replace results of other settings or origin")
    add_workers(parser)
    add_reading(parser)
    add_settings(parser)


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Where to compute; shared with `medssl similar`."""
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:N or mps")
    parser.add_argument("--weights", default="default3d", help="default3d, untrained3d, slices (the 2D encoder), "
                        "another installed set, or a file")  # fmt: skip
    parser.add_argument("--workers", type=int, metavar="N", help="worker processes (default: by GPUs, cores, memory)")
    parser.add_argument("--threads", type=int, metavar="N", help="threads per worker")
    parser.add_argument(
        "--scheduler", metavar="ADDRESS", help="use the workers of this dask scheduler, tcp://HOST:PORT"
    )
    parser.add_argument("--dashboard", action="store_true", help="show dask's page of the workers on this computer")
    parser.add_argument("--no-workers", action="store_true", help="one scan after another in this process")


def cohort_options(args: argparse.Namespace) -> list[str]:
    """The settings that --workers and --threads stand for."""
    given = {"workers": args.workers, "threads": args.threads}
    return [f"cohort.{name}={value}" for name, value in given.items() if value is not None]


def run(args: argparse.Namespace, console: Console) -> int | None:
    """Check, work through the scans, print."""
    from napari_medssl.cli.options import settings_from
    from napari_medssl.cli.settings_list import list_settings
    from napari_medssl.explore.cohort.settings import FeaturesSettings

    if args.list_settings:
        return list_settings(console, FeaturesSettings)
    wrong = _misused(args)
    if wrong:
        console.problem(f"{wrong}; see medssl features --help")
        return 2
    from napari_medssl.cli.features_cohort import make_features

    settings = settings_from(FeaturesSettings, file=args.settings, assignments=[*args.set, *cohort_options(args)])
    return make_features(args, settings, console)


def _misused(args: argparse.Namespace) -> str:
    """What is missing or does not go together, as a sentence; empty when all is well."""
    missing = [name for name, value in (("IMAGE", args.images), ("--out", args.out)) if not value]
    if missing:
        return f"features also needs {', '.join(missing)}"
    for name, what in _ONLY.items():
        if getattr(args, name) not in (None, []) and args.what != what:
            return f"--{'from' if name == 'source' else name} goes with --what {what}"
    if args.what == "similarity" and bool(args.at) == (args.region is not None):
        return "similarity to what? give either --at X Y Z or --region MASK"
    if args.label is not None and args.region is None:
        return "--label goes with --region"
    if args.scheduler and (args.no_workers or args.dashboard or args.workers is not None):
        return "--scheduler brings its own workers; leave --workers, --no-workers and --dashboard out"
    return ""
