"""`medssl edit`: refine a label map by the same tools as the viewer's toolbox."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_medssl.cli.arguments import add_reading, reading, slice_range
from napari_medssl.errors import SettingsError

if TYPE_CHECKING:
    from napari_medssl.cli.console import Console
    from napari_medssl.edit import Operation, Scope
    from napari_medssl.volume import Volume

EXAMPLES = """
examples:
  medssl edit organs.nii.gz --do fill-holes --do "smooth mm=2" --label 3 --out smooth.nii.gz
  medssl edit organs.nii.gz --image scan.nii.gz --do "keep-range low=-20 high=180" --label liver --out liver.nii.gz
  medssl edit organs.nii.gz --other tumour.nii.gz --do "combine how=difference" --label liver --out healthy.nii.gz
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.epilog = EXAMPLES
    parser.add_argument("mask", type=Path, nargs="?", help="the label map to refine; it is left as it is")
    parser.add_argument(
        "--do", action="append", default=[], metavar="'NAME SETTING=VALUE ...'",
        help="an operation with its settings; repeated ones follow each other",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="FILE", help="the mask to write; its ending chooses the format")
    parser.add_argument(
        "--label", action="append", default=[], metavar="ORGAN",
        help="organ to work on, by number or name; may be repeated (default: all)",
    )  # fmt: skip
    parser.add_argument("--image", type=Path, metavar="SCAN", help="the scan, for operations that look at intensities")
    parser.add_argument("--other", type=Path, metavar="MASK2", help="a second label map, for combine")
    parser.add_argument(
        "--painted",
        type=Path,
        metavar="MASK3",
        help="the slices you painted: an organ stays as it is where it is there",
    )
    parser.add_argument("--change-painted", action="store_true", help="let painted slices change too")
    parser.add_argument("--overwrite", action="store_true", help="let organs that are not worked on lose voxels")
    parser.add_argument("--slices", metavar="LO:HI", help="change slices LO to HI-1 only, counted from 0")
    parser.add_argument(
        "--list-settings", action="store_true", help="print every operation with its settings, and stop"
    )
    parser.add_argument("--force", action="store_true", help="replace files that exist")
    add_reading(parser)


def run(args: argparse.Namespace, console: Console) -> int | None:
    """Read, edit, write, print."""
    if args.list_settings:
        _list(console)
        return None
    missing = [name for name, value in (("MASK", args.mask), ("--do", args.do), ("--out", args.out)) if not value]
    if missing:
        console.problem(f"edit also needs {', '.join(missing)}; see medssl edit --help")
        return 2
    _edit(args, console, [operation_of(text) for text in args.do])
    return None


def operation_of(text: str) -> Operation:
    """The operation of "NAME SETTING=VALUE ...". Raises SettingsError for a name, setting or value that is not there.

    >>> operation_of("grow mm=2").mm
    2.0
    """
    from napari_medssl.cli.options import settings_from
    from napari_medssl.edit import operations

    name, *assignments = text.split() or [""]
    kind = operations[name]
    for assignment in assignments:
        if "=" not in assignment:
            raise SettingsError(f"--do {text!r}: {assignment!r} has no '='; write SETTING=VALUE, such as 'grow mm=2'")
    return settings_from(kind, assignments=assignments)


def _edit(args: argparse.Namespace, console: Console, operations: Sequence[Operation]) -> None:
    from napari_medssl.cli.organ_table import organ_rows
    from napari_medssl.cli.outputs import check_outputs
    from napari_medssl.edit import edit_steps
    from napari_medssl.edit.record import record
    from napari_medssl.geometry import align_to
    from napari_medssl.io import read, write_segmentation
    from napari_medssl.io.formats import format_to_write
    from napari_medssl.io.label_values import complete

    format_to_write(args.out)
    inputs = [path for path in (args.mask, args.image, args.other, args.painted) if path]
    check_outputs(_outputs(args.out), inputs=inputs, force=args.force)
    start = time.perf_counter()
    labels = _told(read(args.mask, labels=True), console)
    image = None if args.image is None else _told(read(args.image, **reading(args)), console)
    if image is not None:
        labels = align_to(labels, image)
    other, painted = (
        None if path is None else align_to(read(path, labels=True), labels).data for path in (args.other, args.painted)
    )
    scope = _scope(args, labels, painted)
    edits: list[dict[str, Any]] = []
    made = labels
    for operation in operations:
        steps = edit_steps(made, operation, scope=scope, image=None if image is None else image.data, other=other)
        change = console.follow(steps)
        for note in change.notes:
            console.remark(note)
        data = change.applied(made.data)
        made = made.like(data, complete(labels.labels, data))
        edits.append(record(operation, scope, change))
    rows = organ_rows(labels), organ_rows(made)
    write_segmentation(args.out, made)
    seconds = round(time.perf_counter() - start, 3)
    _write_report(args, labels, {"edits": edits, "organ_table": [row.facts() for row in rows[1]], "seconds": seconds})
    _print(console, *rows)
    console.say(f"\nwritten: {args.out}")


def _scope(args: argparse.Namespace, labels: Volume, painted: Any) -> Scope:
    from napari_medssl.edit import Scope

    return Scope(
        _organs(args.label, labels),
        slice_range(args.slices, labels.shape[0]),
        overwrite=args.overwrite,
        painted=painted,
        change_painted=args.change_painted,
    )


def _organs(wanted: Sequence[str], labels: Volume) -> tuple[int, ...]:
    """Label numbers of names or numbers; a number need not be there yet. Raises SettingsError for an unknown name."""
    by_name = {label.name.lower(): label.value for label in labels.labels}
    found = []
    for name in (part.strip() for text in wanted for part in text.split(",")):
        if name.lower() not in by_name and not name.isdecimal():
            known = ", ".join(f"{o.name} ({o.value})" for o in labels.labels)
            raise SettingsError(f"no organ of the mask is called {name!r}; choose of: {known}")
        found.append(by_name[name.lower()] if name.lower() in by_name else int(name))
    return tuple(dict.fromkeys(found))


def _outputs(out: Path) -> tuple[Path, ...]:
    from napari_medssl.io.formats import suffix_of
    from napari_medssl.io.label_table import table_path
    from napari_medssl.report import report_path

    own_table = suffix_of(out) in (".seg.nrrd", ".npz")
    return (out, report_path(out)) if own_table else (out, report_path(out), table_path(out))


def _write_report(args: argparse.Namespace, labels: Volume, facts: dict[str, Any]) -> None:
    from napari_medssl.report import environment, report_path, write_report

    files = {name: getattr(args, name) for name in ("mask", "image", "other", "painted")}
    given = {name: path for name, path in files.items() if path is not None}
    report = {"command": ["medssl", *args.argv], "inputs": given, "mask_sha256": labels.content_hash}
    write_report(report_path(args.out), {**environment(), **report, "output": {"mask": args.out.name}, **facts})


def _print(console: Console, before: Sequence[Any], after: Sequence[Any]) -> None:
    was = {row.value: row.volume_ml for row in before}
    body = []
    for row in after:
        old = was.get(row.value, 0.0)
        body.append((row.name, f"{old:.1f}", f"{row.volume_ml:.1f}", f"{row.volume_ml - old:+.1f}", _extent(row)))
    console.table(("organ", "ml before", "ml after", "change", "slices"), body)


def _extent(row: Any) -> str:
    return "none" if row.first is None else f"{row.first}-{row.last}"


def _list(console: Console) -> None:
    from napari_medssl.cli.options import options
    from napari_medssl.edit import operations

    rows = []
    for name in operations:
        rows.append((name, "", "", "", operations[name].hint))
        rows += [("", o.name, _default(o.default), o.allowed, o.text) for o in options(operations[name])]
    console.table(("operation", "setting", "default", "allowed", "what it does"), rows, left=5)


def _default(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else "" if value == () else str(value)


def _told(volume: Volume, console: Console) -> Volume:
    """The volume itself, after telling what its reader had to assume."""
    for note in volume.notes:
        console.remark(f"{volume.source}: {note}")
    return volume
