"""The work of `medssl features`: prepare what all scans share, work through them, join what belongs together."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from napari_medssl.cli.arguments import reading
from napari_medssl.cli.console import Console
from napari_medssl.cli.features_report import say_outcomes, write_run_report
from napari_medssl.errors import FormatError, MedSSLError
from napari_medssl.explore.cohort.case import Case, cases_from
from napari_medssl.explore.cohort.colour_maps import COLOURS_FILE, ColourFit, ColourMaps
from napari_medssl.explore.cohort.embeddings import Embeddings, joined_index, joined_table
from napari_medssl.explore.cohort.extraction import Extraction
from napari_medssl.explore.cohort.grids import Grids
from napari_medssl.explore.cohort.likeness_maps import LikenessMaps, Reference
from napari_medssl.explore.cohort.outcome import Outcome
from napari_medssl.explore.cohort.run import Runner, open_runner
from napari_medssl.explore.cohort.settings import FeaturesSettings
from napari_medssl.explore.cohort.staging import staging
from napari_medssl.explore.cohort.work import Job, Product
from napari_medssl.explore.colours import load_colours
from napari_medssl.explore.roi import write_table
from napari_medssl.io.colour import COLOUR_ENDINGS
from napari_medssl.io.formats import WRITABLE
from napari_medssl.models.bundle import file_sha256
from napari_medssl.report import environment, plain, report_path, write_report
from napari_medssl.settings import to_dict

_ENDINGS = {
    "grid": (".zarr", ".npz"),
    "pca": COLOUR_ENDINGS,
    "embedding": (".csv", ".parquet"),
    "similarity": (".nii.gz", *(e for e in WRITABLE if e not in (".nii.gz", ".seg.nrrd"))),
}
INDEX_FILE = "index.npz"


@dataclass(frozen=True)
class Cohort:
    """The cases, and everything their products are made with."""

    cases: tuple[Case, ...]
    out: Path
    extraction: Extraction
    settings: FeaturesSettings
    args: argparse.Namespace


@dataclass(frozen=True)
class Desk:
    """Where the jobs of one run are done. `console` follows them."""

    runner: Runner
    job: Job
    console: Console

    def do(self, cases: Sequence[Case], product: Product) -> tuple[Outcome, ...]:
        """Work through the cases."""
        return self.console.follow(self.runner(cases, replace(self.job, product=product)))


def make_features(args: argparse.Namespace, settings: FeaturesSettings, console: Console) -> int:
    """Make what was asked for; 0 when every scan has it, 1 when one has not."""
    start = time.perf_counter()
    ending = ending_for(args.what, args.ending)
    cohort = open_cohort(args, settings, args.images, args.out, regions=args.regions)
    with open_desk(cohort, console) as desk:
        outcomes = _make(cohort, desk, ending)
    say_outcomes(outcomes, console)
    for path in _join(cohort, outcomes, ending, console):
        console.say(f"written: {path}")
    write_run_report(cohort.out / f"features-{args.what}.report.json", outcomes, cohort_facts(cohort), start)
    return 1 if any(outcome.state == "failed" for outcome in outcomes) else 0


def ending_for(what: str, given: str | None) -> str:
    """The ending of the results. Raises FormatError for one that this product does not have."""
    allowed = _ENDINGS[what]
    if given is None:
        return allowed[0]
    ending = given if given.startswith(".") else f".{given}"
    if ending not in allowed:
        raise FormatError(f"--ending {given!r} is no ending of --what {what}; use one of {', '.join(allowed)}")
    return ending


def open_cohort(
    args: argparse.Namespace, settings: FeaturesSettings, images: Sequence[Path], out: Path,
    *, regions: Sequence[Path] = (),
) -> Cohort:  # fmt: skip
    """The scans and settings of a run. Raises FormatError when there is none, or the results would lie among them."""
    folder = out.expanduser().absolute()
    if any(image.expanduser().absolute() == folder for image in images):
        raise FormatError(f"{out} is also the folder of the scans; choose another one for the results")
    options = reading(args) if hasattr(args, "series") else {}
    cases = cases_from(images, regions=regions, **options)
    file = Path(args.weights).expanduser()
    weights = str(file.absolute()) if file.is_file() else args.weights  # other machines have another working folder
    return Cohort(cases, folder, Extraction(weights, settings.extract), settings, args)


@contextmanager
def open_desk(cohort: Cohort, console: Console) -> Iterator[Desk]:
    """The workers and the folder for unfinished results, until the block ends."""
    args = cohort.args
    with staging(cohort.out) as unfinished:
        own = "default" if args.weights == "slices" else "none"  # the slice encoder, which others do not need
        job = Job(Grids(), cohort.out, unfinished, args.force, ("medssl", *args.argv), args.device, own)
        runner = open_runner(
            cohort.settings.cohort, len(cohort.cases), device=args.device, scheduler=args.scheduler,
            dashboard=args.dashboard, here=args.no_workers, tell=console.remark,
        )  # fmt: skip
        with runner as work:
            if args.dashboard:
                console.remark("dask shows the workers at http://127.0.0.1:8787/status")
            yield Desk(work, job, console)


def _make(cohort: Cohort, desk: Desk, ending: str) -> tuple[Outcome, ...]:
    what = cohort.args.what
    if what == "grid":
        return desk.do(cohort.cases, Grids(cohort.extraction, ending))
    if what == "embedding":
        return desk.do(cohort.cases, Embeddings(cohort.extraction))
    if what == "pca":
        return _coloured(cohort, desk, ending)
    return _compared(cohort, desk, ending)


def _coloured(cohort: Cohort, desk: Desk, ending: str) -> tuple[Outcome, ...]:
    settings = cohort.settings.colours
    file = cohort.args.colours
    if file is None:
        failed = _fit(cohort, desk)
        if failed:
            return failed
        file = cohort.out / COLOURS_FILE
    colours = load_colours(file.expanduser())
    count = min(settings.components, colours.count) if settings.separate else 0
    product = ColourMaps(
        file.expanduser().absolute(), file_sha256(file), cohort.extraction, ending, settings.body, count
    )
    return desk.do(cohort.cases, product)


def _fit(cohort: Cohort, desk: Desk) -> tuple[Outcome, ...]:
    """Fit colours on the first scan that can be read; the failures of all when there is none."""
    failed: list[Outcome] = []
    product = ColourFit(cohort.extraction, cohort.settings.colours)
    for case in cohort.cases:
        (outcome,) = desk.do([case], product)
        if outcome.state != "failed":
            how = f", fitted on {case.scan}" if outcome.state == "done" else ", which were there already"
            desk.console.remark(f"the colours are those of {outcome.files[0]}{how}")
            return ()
        failed.append(outcome)
    return tuple(failed)


def _compared(cohort: Cohort, desk: Desk, ending: str) -> tuple[Outcome, ...]:
    args, settings = cohort.args, cohort.settings.similarity
    (case, *_) = cohort.cases if args.source is None else cases_from([args.source], **reading(args))
    region = None if args.region is None else args.region.expanduser().absolute()
    points = tuple(tuple(point) for point in args.at)
    (outcome,) = desk.do([case], Reference(cohort.extraction, settings, points, region, args.label))
    if outcome.state == "failed":
        raise MedSSLError(f"the reference in {case.scan} cannot be taken: {outcome.reason}")
    file = outcome.files[0]
    return desk.do(cohort.cases, LikenessMaps(file, file_sha256(file), cohort.extraction, settings, ending))


def _join(cohort: Cohort, outcomes: Sequence[Outcome], ending: str, console: Console) -> list[Path]:
    """The table and the index of embeddings; what is joined from the scans' own files is always written anew."""
    if cohort.args.what != "embedding" or all(outcome.state == "failed" for outcome in outcomes):
        return []
    table = joined_table(outcomes)
    for note in table.notes:
        console.remark(note)
    table_path, index_path = cohort.out / f"embeddings{ending}", cohort.out / INDEX_FILE
    write_table(table_path, table)
    joined_index(outcomes).save(index_path)
    facts = cohort_facts(cohort)
    write_report(report_path(table_path), {**facts, "rows": len(table.rows), "notes": table.notes})
    write_report(report_path(index_path), facts)
    return [table_path, index_path]


def cohort_facts(cohort: Cohort) -> dict[str, Any]:
    """What all results of a run share, for its reports."""
    facts = {"command": ["medssl", *cohort.args.argv], "weights": cohort.extraction.weights}
    made: dict[str, Any] = plain({**environment(), **facts, "settings": to_dict(cohort.settings)})
    return made
