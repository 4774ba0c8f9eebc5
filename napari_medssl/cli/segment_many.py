"""`medssl segment --library`: many scans with the examples of a library, one result each."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_medssl.cli.arguments import reading, slice_range
from napari_medssl.cli.console import Console
from napari_medssl.cli.options import settings_from
from napari_medssl.cli.organ_table import OrganRow, organ_rows
from napari_medssl.cli.outputs import check_outputs
from napari_medssl.cli.segmenting import Done, Job, Places, probability_paths, save
from napari_medssl.engine import Engine
from napari_medssl.errors import FormatError, MedSSLError
from napari_medssl.io import read
from napari_medssl.io.folders import make_folder
from napari_medssl.io.formats import format_to_write, stem_of
from napari_medssl.labels import Label
from napari_medssl.library import Library
from napari_medssl.library.ranking import SelectSettings
from napari_medssl.oneshot import SegmentSettings
from napari_medssl.report import report_path
from napari_medssl.settings import check, digest, to_dict
from napari_medssl.volume import Volume


@dataclass(frozen=True)
class _Batch:
    """What is the same for all scans."""

    library: Library
    engine: Engine
    settings: SegmentSettings
    select: SelectSettings
    args: argparse.Namespace

    def facts(self, query: Volume, span: tuple[int, int] | None) -> dict[str, Any]:
        """What a result depends on; a result that is there and has the same need not be made again."""
        return {
            "query": query.content_hash,
            "library": self.library.sha256,
            "select": to_dict(self.select),
            "settings": digest(self.settings),
            "weights": self.engine.weights_hash,
            "slice_range": None if span is None else [*span, *(["soft"] if self.args.soft else [])],
        }


def segment_many(args: argparse.Namespace, console: Console) -> int:
    """Segment every scan; 0 when all were, 1 when one was not. A scan that fails does not stop the others."""
    settings = settings_from(SegmentSettings, file=args.settings, assignments=args.set)
    select = SelectSettings() if args.examples is None else SelectSettings(args.examples)
    check(select)
    library = Library.load(args.library)
    if args.organs:
        library = library.only(*args.organs.split(","))
    scans = list(dict.fromkeys(args.image))
    outputs = names_for(scans, args.ending)
    folder = make_folder(args.out)
    rows: list[tuple[Path, tuple[OrganRow, ...], str]] = []
    failed = 0
    with Engine(device=args.device, weights=args.weights) as engine:
        batch = _Batch(library, engine, settings, select, args)
        for number, (scan, name) in enumerate(zip(scans, outputs, strict=True), 1):
            console.remark(f"scan {number} of {len(scans)}: {scan}")
            try:
                rows.append((scan, *_segment_one(batch, scan, folder / name, console)))
            except MedSSLError as error:
                failed += 1
                console.problem(f"{scan}: {error}")
    _print(rows, library.organs, console)
    console.say(f"\n{len(rows)} of {len(scans)} scans segmented, in {folder}")
    return 1 if failed else 0


def names_for(scans: Sequence[Path], ending: str) -> list[str]:
    """A file name for the result of each scan: its own stem, with its folder's name before it where stems are equal.

    Raises FormatError for an ending that cannot be written, or when that does not tell two scans apart.

    >>> names_for([Path("a/scan.nii.gz"), Path("b/scan.nii.gz"), Path("c.nrrd")], ".nii.gz")
    ['a_scan.nii.gz', 'b_scan.nii.gz', 'c.nii.gz']
    """
    ending = ending if ending.startswith(".") else f".{ending}"
    format_to_write(Path(f"mask{ending}"))
    stems = [stem_of(scan.resolve() if scan.name in ("", "..") else scan) for scan in scans]
    names = [
        (f"{scan.resolve().parent.name}_{stem}" if stems.count(stem) > 1 else stem) + ending
        for scan, stem in zip(scans, stems, strict=True)
    ]
    for name in names:
        if names.count(name) > 1:
            same = " and ".join(str(s) for s, n in zip(scans, names, strict=True) if n == name)
            raise FormatError(f"the results of {same} would both be called {name}; segment them into different folders")
    return names


def _segment_one(batch: _Batch, scan: Path, mask: Path, console: Console) -> tuple[tuple[OrganRow, ...], str]:
    """The table rows of one scan and its seconds; no rows when it was done already."""
    args = batch.args
    query = read(scan, **reading(args))
    for note in query.notes:
        console.remark(f"{scan}: {note}")
    span = slice_range(args.slices, query.shape[0], soft=args.soft)
    depends = batch.facts(query, span)
    if not args.force and _done_before(mask, depends):
        console.remark(f"{mask} is there already, from the same scan, library and settings")
        return (), "there"
    organs = [organ.value for organ in batch.library.organs]
    places = Places(mask, None, probability_paths(mask, organs) if args.probability else {})
    check_outputs(places.all(), inputs=[scan, args.library], force=args.force)
    start = time.perf_counter()
    steps = batch.library.apply_steps(
        batch.engine, query, slice_range=span, select=batch.select, settings=batch.settings
    )
    result = console.follow(steps)
    done = Done(result, organ_rows(result.labels), time.perf_counter() - start)
    for warning in result.report.get("warnings", ()):
        console.remark(f"{scan}: {warning}")
    save(done, Job(query, None, batch.settings, span), places, facts=_report(batch, scan, depends))
    return done.rows, f"{done.seconds:.1f}"


def _report(batch: _Batch, scan: Path, depends: dict[str, Any]) -> dict[str, Any]:
    return {
        "command": ["medssl", *batch.args.argv],
        "scan": str(scan),
        "library_file": {"path": str(batch.args.library), "sha256": batch.library.file_sha256},
        "depends_on": depends,
    }


def _done_before(mask: Path, depends: dict[str, Any]) -> bool:
    """Whether this result is there, complete: the report is the last file to be written."""
    report = report_path(mask)
    if not (mask.is_file() and report.is_file()):
        return False
    try:
        facts = json.loads(report.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(facts, dict) and facts.get("depends_on") == depends


def _print(rows: Sequence[tuple[Path, tuple[OrganRow, ...], str]], organs: Sequence[Label], console: Console) -> None:
    if not rows:
        return
    table = []
    for scan, found, seconds in rows:
        ml = {row.value: f"{row.volume_ml:.1f}" for row in found}
        table.append((scan.name or str(scan), seconds, *(ml.get(o.value, "") for o in organs)))
    console.table(("scan", "seconds", *(f"{o.name} ml" for o in organs)), table)
