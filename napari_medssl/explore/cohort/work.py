"""One case from its file to its results: what any product has in common."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from napari_medssl.errors import FormatError, MedSSLError
from napari_medssl.explore.cohort.case import Case
from napari_medssl.explore.cohort.outcome import Outcome
from napari_medssl.explore.cohort.staging import UNFINISHED, move_in
from napari_medssl.io import read
from napari_medssl.progress import Steps
from napari_medssl.report import environment, plain, report_path, write_report

if TYPE_CHECKING:
    from napari_medssl.engine import Engine
    from napari_medssl.volume import Volume


class Product(Protocol):
    """What is made of each scan. Plain data: it travels to the workers, and its files are paths they all see."""

    def files(self, case: Case) -> tuple[str, ...]:
        """Names of the files of a case, without the report."""
        ...

    def depends_on(self, case: Case, engine: Engine) -> dict[str, Any]:
        """What the results depend on besides the scan's content, as plain JSON values: settings, hashes of files."""
        ...

    def make_steps(self, case: Case, volume: Volume, engine: Engine, folder: Path) -> Steps[dict[str, Any]]:
        """Write the files of a case into `folder`; returns facts for the report, plain JSON values.

        A key "notes" holds sentences for the user.
        """
        ...


@dataclass(frozen=True)
class Job:
    """What is done to every case.

    out: absolute path of the results' folder. staging: the folder in it for what is unfinished. force: also replace
    what is there from something else. command: for the reports. device, weights: for the engines.
    """

    product: Product
    out: Path
    staging: Path
    force: bool = False
    command: tuple[str, ...] = ()
    device: str = "auto"
    weights: str = "default"


def open_engine(job: Job, device: str = "auto") -> Engine:
    """The engine of a process that works on a cohort; it keeps no features, because no scan comes twice."""
    from napari_medssl.engine import Engine

    return Engine(device=job.device if job.device != "auto" else device, weights=job.weights, feature_budget_mb=0)


def case_steps(case: Case, job: Job, engine: Engine) -> Steps[Outcome]:
    """Read a scan, make what is not there yet, put it in its place; a user's mistake becomes an outcome, not an error.

    What is unfinished is removed when the generator is closed.
    """
    start = time.perf_counter()
    folder = job.staging / case.name
    try:
        outcome = yield from _make(case, job, engine, folder, start)
    except MedSSLError as error:
        outcome = Outcome(case.name, case.scan, "failed", str(error), time.perf_counter() - start)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return outcome


def _make(case: Case, job: Job, engine: Engine, folder: Path, start: float) -> Steps[Outcome]:
    _check_shared(job)
    volume = read(case.scan, series=case.series, index=case.index)
    names = job.product.files(case)
    if case.scan in {job.out / name for name in names}:
        raise FormatError(f"the result of {case.scan} would replace it; choose another folder for the results")
    depends = plain({"scan": volume.content_hash, **job.product.depends_on(case, engine)})
    standing = _standing(job, names, depends)
    if standing.complete:
        files = tuple(job.out / name for name in (*names, _report(names)))
        seconds = time.perf_counter() - start
        return Outcome(case.name, case.scan, "there", seconds=seconds, files=files, facts=standing.facts)
    if standing.refusal and not job.force:
        raise FormatError(standing.refusal)
    shutil.rmtree(folder, ignore_errors=True)  # of an attempt that was killed
    folder.mkdir()
    made = plain((yield from job.product.make_steps(case, volume, engine, folder)))
    notes = tuple(dict.fromkeys([*volume.notes, *made.pop("notes", ())]))
    facts = {"command": list(job.command), "scan": _scan_facts(case, volume), "depends_on": depends, "facts": made}
    facts |= {"files": list(names), "notes": notes, "seconds_total": round(time.perf_counter() - start, 3)}
    write_report(folder / _report(names), {**environment(), **facts})
    placed = move_in((*names, _report(names)), folder, job.out)
    seconds = time.perf_counter() - start
    return Outcome(case.name, case.scan, "done", standing.change, seconds, placed, made, notes)


def _check_shared(job: Job) -> None:
    if not job.staging.is_dir():
        raise FormatError(
            f"this worker does not see the folder {job.out}; results must go to a folder that all machines share, "
            "under the same path"
        )


@dataclass(frozen=True)
class _Standing:
    """What lies where the results of a case go.

    complete: the same results. change: why they are made again, "" when there are none. refusal: why they may not be
    replaced. facts: of the results that are there.
    """

    complete: bool = False
    change: str = ""
    refusal: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


def _standing(job: Job, names: tuple[str, ...], depends: Mapping[str, Any]) -> _Standing:
    there = [name for name in names if (job.out / name).exists()]
    if not there:
        return _Standing()
    report = _read_report(job.out / _report(names))
    if report == UNFINISHED:
        return _Standing(change="an earlier run was interrupted")
    before = report.get("depends_on")
    place = job.out / there[0]
    if not isinstance(before, dict):
        return _Standing(refusal=_refusal(place, "was not made by this command"))
    if before == depends:
        whole = len(there) == len(names)
        return _Standing(complete=whole, change="" if whole else "a file was missing", facts=report.get("facts", {}))
    changed = [key for key in depends if before.get(key) != depends[key]]
    if changed == ["scan"]:
        return _Standing(change="the scan has changed")
    what = f"made with another {', '.join(key for key in changed if key != 'scan') or 'command'}"
    return _Standing(change=f"was {what}", refusal=_refusal(place, f"was {what}"))


def _refusal(place: Path, why: str) -> str:
    return f"{place} exists already and {why}; add --force to replace it, or choose another folder"


def _read_report(path: Path) -> dict[str, Any]:
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}


def _report(names: tuple[str, ...]) -> str:
    return report_path(Path(names[0])).name


def _scan_facts(case: Case, volume: Volume) -> dict[str, Any]:
    return {
        "path": str(case.scan),
        "series": case.series,
        "index": case.index,
        "regions": None if case.regions is None else str(case.regions),
        "content_sha256": volume.content_hash,
        "shape": volume.shape,
        "spacing_mm": volume.spacing_mm,
        "modality": volume.modality,
    }
