"""`medssl library`: named organ examples in one file, for `medssl segment --library`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_medssl.cli.arguments import add_compute, add_reading, reading
from napari_medssl.errors import FormatError, MedSSLError, SettingsError

if TYPE_CHECKING:
    from napari_medssl.cli.console import Console
    from napari_medssl.library import Library
    from napari_medssl.library.adding import Facts
    from napari_medssl.library.keeping import KeepSettings
    from napari_medssl.oneshot import Support
    from napari_medssl.volume import Volume

EXAMPLES = """
examples:
  medssl library create liver.medssl --image a.nii.gz --mask a_liver.nii.gz --organ liver=1 --licence CC0-1.0
  medssl library add liver.medssl --image b.nii.gz c.nii.gz --mask b_liver.nii.gz c_liver.nii.gz --organ liver=1
  medssl library list liver.medssl
  medssl library remove liver.medssl "liver 2"
  medssl segment --library liver.medssl scans/*.nii.gz --out results/
"""
_ACTIONS = ("create", "add", "list", "remove", "measure")
_FEW = 5  # an organ painted on more slices than this was not painted for a library: three of them are taken


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.usage = (
        "medssl library {create,add,list,remove} FILE.medssl [NAME ...] [options]\n"
        "       medssl library measure FOLDER [--members N] [--queries N] [--out FILE.json]"
    )
    parser.epilog = EXAMPLES
    parser.add_argument("action", choices=_ACTIONS, help="what to do")
    parser.add_argument("file", type=Path, help="the library, NAME.medssl; measure: a folder with images/ and labels/")
    parser.add_argument("names", nargs="*", metavar="NAME", help="remove: the examples to take out")
    parser.add_argument("--image", type=Path, nargs="+", default=[], help="labelled scans: files or DICOM folders")
    parser.add_argument("--mask", type=Path, nargs="+", default=[], help="their labels, in the same order")
    parser.add_argument(
        "--organ", action="append", default=[], metavar="NAME=VALUE", help="a label of the masks and its name; "
        "may be repeated. Without it all labels, named as in the masks"
    )  # fmt: skip
    parser.add_argument("--slices", metavar="A,B,...", help="use these labelled slices, counted from 0")
    parser.add_argument(
        "--per-organ", type=int, metavar="N", help="use N slices of each organ, spread over it (0: all that are "
        f"labelled); by default all of up to {_FEW}, otherwise 3"
    )  # fmt: skip
    parser.add_argument("--name", default="", help='of the examples; without it "liver 1", "liver 2"...')
    parser.add_argument("--note", default="", help="anything worth knowing; no patient's name")
    parser.add_argument("--licence", default="", help="under which scans and labels may be used, such as CC-BY-4.0")
    parser.add_argument("--scanner", default="", help='such as "1.5 T"')
    parser.add_argument(
        "--keep", choices=("slices", "crop", "whole"), default="slices", help="how much of the scans goes into the "
        "file: labelled slices with their neighbours (default), only the surroundings of the organs, everything"
    )  # fmt: skip
    parser.add_argument("--margin-mm", type=float, metavar="MM", help="of --keep crop (default: 40)")
    parser.add_argument("--features", action="store_true", help="also keep features, so that comparing is faster")
    parser.add_argument("--json", action="store_true", help="list: everything, as JSON")
    parser.add_argument(
        "--members", type=int, default=5, metavar="N", help="measure: scans of the library (default: 5)"
    )
    parser.add_argument("--queries", type=int, default=0, metavar="N", help="measure: scans to segment (default: all)")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="measure: also write every score as a report")
    parser.add_argument("--force", action="store_true", help="create, measure: replace a file that exists")
    add_reading(parser)
    add_compute(parser)


def run(args: argparse.Namespace, console: Console) -> int | None:
    """Do what the action says."""
    wrong = _misused(args)
    if wrong:
        console.problem(f"{wrong}; see medssl library --help")
        return 2
    if args.action == "list":
        _list(args, console)
    elif args.action == "remove":
        _remove(args, console)
    elif args.action == "measure":
        _measure(args, console)
    else:
        _extend(args, console)
    return None


def _misused(args: argparse.Namespace) -> str:
    adding = args.action in ("create", "add")
    if adding and not (args.image and args.mask):
        return f"library {args.action} also needs --image and --mask"
    if len(args.image) != len(args.mask):
        return f"{len(args.image)} scans with {len(args.mask)} masks were given; give one mask for each scan"
    if args.slices and len(args.image) > 1:
        return "--slices are those of one scan; add the scans one by one, or use --per-organ"
    if args.action == "remove" and not args.names:
        return "library remove also needs the NAME of an example"
    if args.action != "remove" and args.names:
        return f"{args.names[0]!r} is one argument too many"
    return ""


def _extend(args: argparse.Namespace, console: Console) -> None:
    from napari_medssl.cli.outputs import check_outputs
    from napari_medssl.library import Library
    from napari_medssl.library.adding import add_examples

    creating = args.action == "create"
    check_outputs([args.file], inputs=[*args.image, *args.mask], force=args.force or not creating)
    library = Library() if creating else Library.load(args.file)
    before = {e.sha256 for e in library.examples}
    for support, facts, keep in _supports(args, console):
        try:
            added = add_examples(library.examples, support, facts=facts, keep=keep)
        except MedSSLError as error:
            raise type(error)(f"{support.volume.source}: {error}; {args.file.name} is as it was") from error
        library = library.with_examples(added.examples)
        for note in added.notes:
            console.remark(f"{support.volume.source}: {note}")
    if args.features:
        library = _with_features(library, args, console)
    library = library.save(args.file, overwrite=creating and args.force)
    new = [e.name for e in library.examples if e.sha256 not in before]
    console.say(f"added: {', '.join(new)}")
    console.say(f"written: {args.file} ({_size(args.file)}, {_count(library)})")


def _with_features(library: Library, args: argparse.Namespace, console: Console) -> Library:
    from napari_medssl.engine import Engine

    with Engine(device=args.device, weights=args.weights) as engine:
        return console.follow(library.with_features_steps(engine))


def _supports(args: argparse.Namespace, console: Console) -> Iterator[tuple[Support, Facts, KeepSettings]]:
    from napari_medssl.library.adding import Facts

    keep = _keep(args)
    organs = _organs(args.organ)
    for number, (image, mask) in enumerate(zip(args.image, args.mask, strict=True), 1):
        name = f"{args.name} {number}" if args.name and len(args.image) > 1 else args.name
        support = _support(image, mask, organs, args, console)
        yield support, Facts(name, args.note, args.licence, args.scanner), keep


def _keep(args: argparse.Namespace) -> KeepSettings:
    from napari_medssl.library.keeping import KeepSettings
    from napari_medssl.settings import check

    keep = KeepSettings(args.keep) if args.margin_mm is None else KeepSettings(args.keep, margin_mm=args.margin_mm)
    check(keep)
    return keep


def _organs(texts: list[str]) -> dict[int, str]:
    """Label value to name, of "NAME=VALUE" texts."""
    organs: dict[int, str] = {}
    for text in texts:
        name, equals, value = text.rpartition("=")
        if not (equals and name.strip() and value.strip().isdecimal() and int(value) > 0):
            raise SettingsError(f"--organ {text!r} is no organ; write NAME=VALUE with its label, such as liver=1")
        if int(value) in organs:
            raise SettingsError(f"--organ names the label {int(value)} twice; each label is one organ")
        organs[int(value)] = name.strip()
    return organs


def _support(image: Path, mask: Path, organs: dict[int, str], args: argparse.Namespace, console: Console) -> Support:
    import dataclasses

    import numpy as np

    from napari_medssl.geometry import align_to
    from napari_medssl.io import read
    from napari_medssl.labels import default_label
    from napari_medssl.oneshot import Support

    scan = _told(read(image, **reading(args)), console)
    labels = align_to(_told(read(mask, labels=True), console), scan)
    data, known = labels.data, {o.value: o for o in labels.labels}
    if organs:
        missing = [v for v in organs if not (data == v).any()]
        if missing:
            present = ", ".join(str(v) for v in np.unique(data) if v) or "none"
            raise FormatError(f"{mask} has no label {missing[0]} ({organs[missing[0]]}); its labels are: {present}")
        data = np.where(np.isin(data, list(organs)), data, 0)
        named = [dataclasses.replace(known.get(v, default_label(v)), name=name) for v, name in organs.items()]
        known = {o.value: o for o in named}
    return Support(scan, _sliced(data, mask, args), tuple(known.values()))


def _sliced(data: Any, mask: Path, args: argparse.Namespace) -> Any:
    """The label map on the slices that the arguments ask for."""
    import numpy as np

    from napari_medssl.library.adding import spread_slices

    if args.slices:
        try:
            wanted = sorted({int(z) for z in args.slices.split(",")})
        except ValueError:
            raise SettingsError(f"--slices {args.slices!r} is no list of slices; write such as 10,14,18") from None
        empty = [z for z in wanted if not 0 <= z < len(data) or not data[z].any()]
        if empty:
            raise SettingsError(f"{mask} has no label on slice {empty[0]}; its slices are 0 to {len(data) - 1}")
        data = np.where(np.isin(np.arange(len(data)), wanted)[:, None, None], data, 0)
    if args.per_organ is None:
        return data if args.slices else spread_slices(data, 3, few=_FEW)
    if args.per_organ < 0:
        raise SettingsError(f"--per-organ is {args.per_organ}; give a number of slices, or 0 for all")
    return spread_slices(data, args.per_organ) if args.per_organ else data


def _remove(args: argparse.Namespace, console: Console) -> None:
    from napari_medssl.library import Library

    library = Library.load(args.file).remove(*args.names).save(args.file)
    console.say(f"written: {args.file} ({_size(args.file)}, {_count(library)})")


def _list(args: argparse.Namespace, console: Console) -> None:
    import json

    from napari_medssl.library import Library
    from napari_medssl.report import plain

    library = Library.load(args.file)
    if args.json:
        console.say(json.dumps(plain(facts_of(library)), indent=2, ensure_ascii=False))
        return
    if library.examples:
        head = ("name", "organ", "label", "slices", "voxels mm", "kind", "licence", "note")
        console.table(head, [_row(library, n) for n in range(len(library.examples))], left=len(head))
    console.say(f"\n{_count(library)}, {_size(args.file)}")


def _measure(args: argparse.Namespace, console: Console) -> None:
    import dataclasses

    from napari_medssl.cli.outputs import check_outputs
    from napari_medssl.engine import Engine
    from napari_medssl.library.measuring import measure_steps, summaries
    from napari_medssl.report import environment, write_report

    if args.out is not None:
        check_outputs([args.out], force=args.force)
    keep = _keep(args)
    with Engine(device=args.device, weights=args.weights) as engine:
        steps = measure_steps(args.file, engine, members=args.members, queries=args.queries, keep=keep)
        trials = console.follow(steps)
        facts = {**environment(), "engine": engine.describe(), "members": args.members, "keep": args.keep}
    found = summaries(trials)
    rows = [(s.choice, f"{s.whole:.3f}", f"{s.in_range:.3f}", f"{s.seconds:.1f}") for s in found]
    console.table(("examples of each organ", "whole", "in range", "seconds"), rows)
    if args.out is not None:
        summary, every = ([dataclasses.asdict(x) for x in several] for several in (found, trials))
        write_report(args.out, facts | {"summary": summary, "trials": every})


def _row(library: Library, n: int) -> tuple[str, ...]:
    e = library.examples[n]
    voxels = " x ".join(f"{s:.3g}" for s in e.scan.spacing_mm)
    kind = " ".join(x for x in (e.scan.modality.replace("auto", ""), e.scan.scanner) if x)
    slices = ", ".join(map(str, e.slices[:_FEW])) + (" …" if len(e.slices) > _FEW else "")
    return e.name, e.organ.name, str(e.organ.value), slices, voxels, kind or "-", e.licence or "-", e.note or "-"


def facts_of(library: Library) -> dict[str, Any]:
    """Everything in a library but voxels, for a machine."""
    return {
        "sha256": library.sha256,
        "examples": [
            {
                "name": e.name,
                "organ": e.organ.name,
                "label": e.organ.value,
                "slices": e.slices,
                "spacing_mm": e.scan.spacing_mm,
                "shape": e.scan.shape,
                "slices_in_full": e.scan.slices,
                "modality": e.scan.modality,
                "scanner": e.scan.scanner,
                "licence": e.licence,
                "note": e.note,
                "features_of_weights": None if (f := library.features_of(e.scan)) is None else f.weights_sha256,
                "sha256": e.sha256,
            }
            for e in library.examples
        ],
    }


def _count(library: Library) -> str:
    parts = ((len(library.examples), "example"), (len(library.organs), "organ"), (len(library.scans), "scan"))
    examples, organs, scans = (f"{n} {word}{'' if n == 1 else 's'}" for n, word in parts)
    return f"{examples} of {organs} on {scans}"


def _size(path: Path) -> str:
    return f"{path.stat().st_size / 2**20:.1f} MiB"


def _told(volume: Volume, console: Console) -> Volume:
    """The volume itself, after telling what its reader had to assume."""
    for note in volume.notes:
        console.remark(f"{volume.source}: {note}")
    return volume
