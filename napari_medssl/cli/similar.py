"""`medssl similar`: the scans of an index that are most like a scan."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_medssl.cli.arguments import add_settings
from napari_medssl.cli.features import add_workers, cohort_options

if TYPE_CHECKING:
    from napari_medssl.cli.console import Console
    from napari_medssl.explore.cohort.settings import FeaturesSettings
    from napari_medssl.explore.search import Match, ScanIndex

EXAMPLES = """
examples:
  medssl similar --index hospital.npz --add scans/
  medssl similar new.nii.gz --index hospital.npz --count 10
  medssl similar new.nii.gz --index table/index.npz

An index is also made by medssl features --what embedding. Similarity ranks within an index; it is no measure of its
own.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.epilog = EXAMPLES
    parser.add_argument("scans", type=Path, nargs="*", metavar="SCAN", help="scans to compare with those of the index")
    parser.add_argument("--index", type=Path, metavar="INDEX.npz", help="where the scans to search are kept")
    parser.add_argument("--add", type=Path, nargs="+", default=[], metavar="IMAGE", help="scans, DICOM folders or "
                        "folders of scans to put into the index first; it is made when it is not there")  # fmt: skip
    parser.add_argument("--count", type=int, default=5, metavar="N", help="scans to find (default: 5)")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="also write what was found")
    parser.add_argument("--force", action="store_true", help="replace files that exist")
    add_workers(parser)
    parser.set_defaults(weights=None)
    add_settings(parser)


def run(args: argparse.Namespace, console: Console) -> int | None:
    """Add, search, print."""
    from napari_medssl.cli.options import settings_from
    from napari_medssl.cli.outputs import check_outputs
    from napari_medssl.cli.settings_list import list_settings
    from napari_medssl.explore.cohort.settings import FeaturesSettings
    from napari_medssl.explore.search import ScanIndex

    if args.list_settings:
        return list_settings(console, FeaturesSettings)
    if args.index is None or not (args.scans or args.add):
        console.problem("similar needs --index INDEX.npz and a SCAN or --add IMAGE; see medssl similar --help")
        return 2
    if args.out is not None:
        check_outputs([args.out], inputs=[*args.scans, args.index], force=args.force)
    before = _before(args.index)
    args.weights = args.weights or before.get("weights", "default3d")
    base = _known_settings(before) if before else None
    settings = settings_from(
        FeaturesSettings, file=args.settings, assignments=[*args.set, *cohort_options(args)], base=base
    )
    code = _add(args, settings, console) if args.add else 0
    if args.scans:
        _search(args, settings, ScanIndex.load(args.index), console)
    return code


def _before(index: Path) -> dict[str, Any]:
    """How the index was made: weights and settings of its report, which new scans must share."""
    import json

    from napari_medssl.report import report_path

    try:
        facts = json.loads(report_path(index).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) and isinstance(facts.get("settings"), dict) else {}


def _known_settings(before: dict[str, Any]) -> FeaturesSettings:
    """The extraction of an index; where it was computed says nothing about where this is."""
    from napari_medssl.dense.settings import ExtractSettings
    from napari_medssl.explore.cohort.settings import FeaturesSettings
    from napari_medssl.settings import from_dict

    return FeaturesSettings(extract=from_dict(ExtractSettings, before["settings"].get("extract", {})))


def _add(args: argparse.Namespace, settings: FeaturesSettings, console: Console) -> int:
    """Embed the scans and put them into the index; what is embedded once is kept beside it."""
    from napari_medssl.cli.features_cohort import cohort_facts, open_cohort, open_desk
    from napari_medssl.cli.features_report import say_outcomes
    from napari_medssl.explore.cohort.embeddings import Embeddings, joined_index
    from napari_medssl.explore.search import ScanIndex
    from napari_medssl.report import report_path, write_report

    folder = args.index.with_name(f"{args.index.stem}.scans")
    cohort = open_cohort(args, settings, args.add, folder)
    index = ScanIndex.load(args.index) if args.index.exists() else None
    with open_desk(cohort, console) as desk:
        outcomes = desk.do(cohort.cases, Embeddings(cohort.extraction))
    say_outcomes(outcomes, console)
    if all(outcome.state == "failed" for outcome in outcomes):
        return 1
    joined = joined_index(outcomes, index)
    joined.save(args.index)
    write_report(report_path(args.index), {**cohort_facts(cohort), "scans": [e.name for e in joined.entries]})
    console.say(f"written: {args.index}, with {len(joined)} scans")
    return 1 if any(outcome.state == "failed" for outcome in outcomes) else 0


def _search(args: argparse.Namespace, settings: FeaturesSettings, index: ScanIndex, console: Console) -> None:
    from napari_medssl.engine import Engine
    from napari_medssl.report import environment, write_report

    found: dict[str, list[Match]] = {}
    with Engine(device=args.device, weights="none" if args.weights != "slices" else "default") as engine:
        for scan in args.scans:
            found[str(scan)] = console.follow(_matches(scan, args, settings, index, engine))
    rows = [
        (scan if n == 0 else "", match.name, f"{match.similarity:.3f}")
        for scan, matches in found.items()
        for n, match in enumerate(matches)
    ]
    console.table(("scan", "similar scan", "similarity"), rows, left=2)
    if args.out is not None:
        listed = {scan: [vars(match) for match in matches] for scan, matches in found.items()}
        facts = {**environment(), "command": ["medssl", *args.argv], "index": args.index, "found": listed}
        write_report(args.out, facts)
        console.say(f"\nwritten: {args.out}")


def _matches(scan: Path, args: argparse.Namespace, settings: FeaturesSettings, index: ScanIndex, engine: Any) -> Any:
    from napari_medssl.explore.body import body_cells
    from napari_medssl.explore.search import embed_scan
    from napari_medssl.io import read

    volume = read(scan)
    grid = yield from engine.grid_steps(volume, weights=args.weights, settings=settings.extract)
    return index.query(embed_scan(grid, body_cells(grid, volume), name=str(scan)), count=args.count)
