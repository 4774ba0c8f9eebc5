"""`medssl demo`: segment a sample scan from one labelled slice per organ, and show how well it went."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from napari_medssl.cli.arguments import add_compute, add_settings

if TYPE_CHECKING:
    from napari_medssl.cli.console import Console
    from napari_medssl.engine import Engine
    from napari_medssl.oneshot.settings import SegmentSettings
    from napari_medssl.samples.catalogue import Sample

_DEFAULT = ("phantom-ct", "phantom-mr")

EPILOG = """
Without a name the two phantoms are segmented, which need neither a network nor other data. --list shows what else is
at hand: the MNI152 brain when nilearn is installed, real scans of the folder NAPARI_MEDSSL_DATA names, and public
samples that are downloaded once. --data takes any folder with images/ and labels/.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.epilog = EPILOG
    parser.add_argument("name", nargs="?", help="a sample; see --list")
    parser.add_argument("--list", action="store_true", help="print the samples, and stop")
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="a folder with images/ and labels/ instead of a sample"
    )
    parser.add_argument("--case", metavar="FILE", help="which file of --data; the first by default")
    parser.add_argument("--organs", metavar="A,B", help="names or numbers of the organs to segment, or 'all'")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for the results; output/demo-NAME by default")
    parser.add_argument("--force", action="store_true", help="replace results that are in --out already")
    add_compute(parser)
    add_settings(parser)


def run(args: argparse.Namespace, console: Console) -> int | None:
    """Every sample asked for, one after the other."""
    from napari_medssl.cli.options import settings_from
    from napari_medssl.cli.settings_list import list_settings
    from napari_medssl.engine import Engine
    from napari_medssl.oneshot.settings import SegmentSettings

    if args.list_settings:
        return list_settings(console, SegmentSettings)
    if args.list:
        _print_samples(console)
        return None
    settings = settings_from(SegmentSettings, file=args.settings, assignments=args.set)
    chosen = _chosen(args)
    engine = Engine(device=args.device, weights=args.weights)
    for entry in chosen:
        folder = _folder(args.out, entry.name, several=len(chosen) > 1)
        _show(entry, folder, engine, settings, args, console)
    _print_others(console, {entry.name for entry in chosen})
    return None


def _chosen(args: argparse.Namespace) -> list[Sample]:
    from napari_medssl.samples.catalogue import from_folder, sample

    if args.data is not None:
        return [from_folder(args.data, case=args.case)]
    return [sample(name) for name in ([args.name] if args.name else _DEFAULT)]


def _show(
    entry: Sample, folder: Path, engine: Engine, settings: SegmentSettings, args: argparse.Namespace, console: Console
) -> None:
    """One sample from scan to printed table."""
    from napari_medssl.cli.one_slice import choose_organs, one_slice_each
    from napari_medssl.cli.organ_table import print_rows
    from napari_medssl.cli.outputs import check_outputs
    from napari_medssl.cli.segmenting import Job, Places, run_job, save
    from napari_medssl.errors import SupportError
    from napari_medssl.io import write

    scan, truth = entry.load()
    if truth is None:
        raise SupportError(
            f"the sample {entry.name!r} has no labels to learn from; it lies at {scan.source}: open it in napari and "
            "paint an organ, or give your own mask to medssl segment"
        )
    organs = choose_organs(truth, args.organs.split(",") if args.organs else entry.organs)
    support = one_slice_each(scan, truth, organs)
    places = Places(folder / "result.nii.gz", folder / "overlay.png")
    inputs = {name: folder / f"{name}.nii.gz" for name in ("scan", "support", "truth")}
    if folder.exists():
        check_outputs([*places.all(), *inputs.values()], force=args.force)

    console.say(f"{entry.title} ({entry.licence}): {' x '.join(map(str, scan.shape))} voxels")
    job = Job(scan, support, settings, truth=truth.data)
    given = ", ".join(f"{organ.name} {job.labelled[organ.value][0]}" for organ in organs)
    console.say(f"one labelled slice per organ: {given}\n")
    done = run_job(engine, job, console)
    folder.mkdir(parents=True, exist_ok=True)  # only now, so that a cancelled run leaves nothing
    save(done, job, places, facts={"command": ["medssl", *args.argv], "sample": entry.name, "licence": entry.licence})
    for name, volume in (("scan", scan), ("support", scan.like(support.mask, support.labels)), ("truth", truth)):
        write(inputs[name], volume)
    for warning in done.result.report.get("warnings", ()):
        console.remark(str(warning))
    print_rows(console, done.rows, done.seconds)
    console.say("Dice over the whole volume without each organ's labelled slice")
    console.say(f"\nscan, masks, report and picture: {folder}\n")


def _folder(out: Path | None, name: str, *, several: bool) -> Path:
    """The folder asked for (one below it per sample when there are several), or the next free output/demo-NAME."""
    if out is not None:
        return out / name if several else out
    first = Path("output") / f"demo-{name}"
    tries = (first, *(first.with_name(f"{first.name}-{i}") for i in range(2, 10_000)))
    return next(folder for folder in tries if not folder.exists())


def _print_samples(console: Console) -> None:
    from napari_medssl.samples.catalogue import samples

    rows = [(s.name, s.source, s.licence, s.title) for s in samples().values()]
    console.table(("name", "source", "licence", "what"), rows, left=4)


def _print_others(console: Console, shown: set[str]) -> None:
    from napari_medssl.samples.catalogue import samples

    near = [s.name for s in samples().values() if s.source != "download" and s.name not in shown]
    if near:
        console.say("also here: " + ", ".join(f"medssl demo {name}" for name in near))
