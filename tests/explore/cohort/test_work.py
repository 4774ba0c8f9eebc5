"""What is made, skipped, made again and refused, one scan after another."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from napari_medssl.explore.cohort.case import Case, cases_from
from napari_medssl.explore.cohort.run import here_steps
from napari_medssl.explore.cohort.staging import UNFINISHED
from napari_medssl.explore.cohort.work import Job
from napari_medssl.progress import finish
from tests.explore.cohort.conftest import MeanProduct, save_scan

MakeJob = Callable[..., Job]


def states(cases: tuple[Case, ...], job: Job) -> dict[str, str]:
    return {o.name: f"{o.state} {o.reason}".strip() for o in finish(here_steps(cases, job))}


def test_a_failure_stops_no_other_and_a_second_run_skips(cohort: tuple[Case, ...], job: MakeJob) -> None:
    outcomes = finish(here_steps(cohort, job(command=("medssl", "features"))))
    assert [o.state for o in outcomes] == ["done", "done", "failed", "failed"]
    assert "too bright (300)" in outcomes[2].reason
    assert "broken.nii.gz is no NIfTI file" in outcomes[3].reason
    out = job().out
    assert (out / "a.mean.txt").read_text() == "10.00\n"
    report = json.loads((out / "a.mean.report.json").read_text())
    assert report["command"] == ["medssl", "features"]
    assert report["depends_on"]["settings"] == {"factor": 1.0}
    assert report["scan"]["path"] == str(cohort[0].scan)
    assert outcomes[0].notes[-1] == "rounded"
    again = finish(here_steps(cohort, job()))
    assert [o.state for o in again] == ["there", "there", "failed", "failed"]
    assert again[0].facts == outcomes[0].facts
    assert sorted(p.name for p in out.iterdir()) == [
        ".unfinished", "a.mean.report.json", "a.mean.txt", "b.mean.report.json", "b.mean.txt",
    ]  # fmt: skip


def test_content_counts_not_the_name(cohort: tuple[Case, ...], job: MakeJob) -> None:
    two = cohort[:2]
    states(two, job())
    save_scan(two[0].scan, 50.0)
    two[1].scan.touch()
    assert states(two, job()) == {"a": "done the scan has changed", "b": "there"}
    assert (job().out / "a.mean.txt").read_text() == "50.00\n"


def test_other_settings_and_strange_files_need_force(cohort: tuple[Case, ...], job: MakeJob) -> None:
    two = cohort[:2]
    out = job().out
    (out / "b.mean.txt").write_text("mine")
    states(two, job())
    refused = states(two, job(MeanProduct(2.0)))
    assert "made with another settings; add --force" in refused["a"]
    assert "was not made by this command; add --force" in refused["b"]
    assert (out / "b.mean.txt").read_text() == "mine"
    assert (out / "a.mean.txt").read_text() == "10.00\n"
    assert states(two, job(MeanProduct(2.0), force=True))["a"].startswith("done")
    assert (out / "a.mean.txt").read_text() == "20.01\n"  # twice 10.004


def test_what_is_not_whole_is_made_again(cohort: tuple[Case, ...], job: MakeJob) -> None:
    one = cohort[:1]
    out = job().out
    states(one, job())
    (out / "a.mean.report.json").write_text(json.dumps(UNFINISHED))
    assert states(one, job()) == {"a": "done an earlier run was interrupted"}
    (out / "a.mean.txt").unlink()
    assert states(one, job()) == {"a": "done"}


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_cancelling_leaves_whole_files_only(cohort: tuple[Case, ...], job: MakeJob, steps: int) -> None:
    work = here_steps(cohort[:2], job())
    for _ in range(steps):  # two reports for each scan
        next(work)
    work.close()
    assert list(job().staging.iterdir()) == []
    names = {p.name for p in job().out.iterdir()} - {".unfinished"}
    assert names == (set() if steps < 3 else {"a.mean.txt", "a.mean.report.json"})
    assert list(states(cohort[:2], job()).values()) == [("done" if steps < 3 else "there"), "done"]


def test_a_scan_is_never_its_own_result(tmp_path: Path, job: MakeJob) -> None:
    scan = save_scan(job().out / "a.mean.txt.nii.gz", 1.0)
    scan.rename(job().out / "a.mean.txt")
    (case,) = cases_from([job().out / "a.mean.txt"])
    (outcome,) = finish(here_steps([Case(case.scan, "a")], job(force=True)))
    assert "would replace it" in outcome.reason
