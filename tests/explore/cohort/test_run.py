"""Cohorts on dask workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from napari_medssl.explore.cohort import floor as floors
from napari_medssl.explore.cohort.case import Case
from napari_medssl.explore.cohort.cluster import Plan, SchedulerError, local_client, plan_local, scheduler_client
from napari_medssl.explore.cohort.floor import Floor
from napari_medssl.explore.cohort.outcome import Outcome
from napari_medssl.explore.cohort.run import cohort_steps, here_steps
from napari_medssl.explore.cohort.settings import CohortSettings
from napari_medssl.explore.cohort.work import Job
from napari_medssl.progress import Progress, finish

MakeJob = Callable[..., Job]


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """Two workers in threads of this process."""
    with local_client(Plan(2, 0, 1 << 30), processes=False) as found:
        yield found


def test_workers_give_what_this_process_gives(client: Any, cohort: tuple[Case, ...], job: MakeJob) -> None:
    seen: list[Progress] = []
    outcomes = finish(cohort_steps(client, cohort, job()), seen.append)
    assert [(o.name, o.state) for o in outcomes] == [
        ("a", "done"), ("b", "done"), ("bright", "failed"), ("broken", "failed"),
    ]  # fmt: skip
    assert (seen[-1].done, seen[-1].total, seen[-1].note) == (4, 4, "2 failed")
    here = finish(here_steps(cohort, job()))
    assert [o.reason for o in here[2:]] == [o.reason for o in outcomes[2:]]
    assert [o.state for o in here[:2]] == ["there", "there"]


def test_closing_takes_the_run_off_the_workers(client: Any, cohort: tuple[Case, ...], job: MakeJob) -> None:
    steps = cohort_steps(client, cohort, job())
    next(steps)
    steps.close()
    plugins = client.run(lambda dask_worker: list(dask_worker.plugins))
    assert not [name for names in plugins.values() for name in names if name.startswith("medssl")]
    assert list(job().staging.iterdir()) == []
    assert {o.state for o in finish(cohort_steps(client, cohort[:2], job()))} <= {"done", "there"}


def test_a_scheduler_that_is_not_there() -> None:
    with (
        pytest.raises(SchedulerError, match=r"no dask scheduler answers at tcp://127.0.0.1:1 "),
        scheduler_client("tcp://127.0.0.1:1", patience_s=1),
    ):
        pass


def test_the_plan_shares_cores_among_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr("napari_medssl.explore.cohort.cluster.available_bytes", lambda: 18 << 30)
    monkeypatch.setattr("napari_medssl.explore.cohort.cluster._gpus", lambda: 0)
    assert plan_local(CohortSettings(), 100) == Plan(4, 2, int(0.95 * (18 << 30) / 4))  # 4 GiB for each
    assert plan_local(CohortSettings(), 2).workers == 2
    assert plan_local(CohortSettings(workers=3, threads=5, memory_gb=1), 100) == Plan(3, 5, 1 << 30)
    monkeypatch.setattr("napari_medssl.explore.cohort.cluster._gpus", lambda: 2)
    plan = plan_local(CohortSettings(), 100)
    assert (plan.workers, plan.devices) == (2, ("cuda:0", "cuda:1"))
    assert plan_local(CohortSettings(), 100, device="cpu").devices == ()


class Workers:
    """Stands in for a dask client: what is submitted stays pending until a test says otherwise."""

    def __init__(self, *names: str) -> None:
        self.names = list(names)
        self.begun: list[tuple[str, str]] = []

    def nthreads(self) -> dict[str, int]:
        return dict.fromkeys(self.names, 1)

    def submit(self, function: Any, run: str, case: Case, *, workers: list[str], **more: Any) -> Any:
        self.begun.append((case.name, workers[0]))
        future = SimpleNamespace(status="pending", cancel=lambda: None, release=lambda: None)
        future.done = lambda: future.status != "pending"
        return future

    def as_current(self) -> Any:
        return self

    def __enter__(self) -> None: ...
    def __exit__(self, *error: object) -> None: ...


def test_a_case_is_begun_again_when_its_worker_is_lost(
    cohort: tuple[Case, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(floors, "_POLL_S", 0)
    client = Workers("w1", "w2")
    floor = Floor(client, "run", cohort[:3], attempts=2)
    assert list(floor.turn()) == []
    assert client.begun == [("a", "w1"), ("b", "w2")]  # one case for each worker; the third waits
    client.names = ["w2", "w3"]  # w1 died; its keeper started w3
    assert list(floor.turn()) == []
    assert client.begun[2:] == [("bright", "w3")]
    client.names = ["w4"]
    assert list(floor.turn()) == []  # b and bright: lost for the first time
    client.names = ["w5"]
    (lost,) = floor.turn()
    assert (lost.name, lost.state) == ("a", "failed")
    assert "ended 2 times in the middle of this scan" in lost.reason
    assert floor.busy


def test_an_error_in_a_worker_is_the_failure_of_its_case(
    cohort: tuple[Case, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(floors, "_POLL_S", 0)
    floor = Floor(Workers("w1", "w2"), "run", cohort[:2], attempts=2)
    list(floor.turn())
    (_, bad), (case, good) = floor._at.values()
    bad.status, bad.exception = "error", lambda: ZeroDivisionError("division by zero")
    good.status, good.result = "finished", lambda: Outcome(case.name, case.scan, "done")
    found = list(floor.turn())
    assert [(o.name, o.state, o.reason) for o in found] == [
        ("a", "failed", "ZeroDivisionError: division by zero"), ("b", "done", ""),
    ]  # fmt: skip
    assert not floor.busy


def test_without_workers_the_run_ends_with_a_sentence(
    cohort: tuple[Case, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_medssl.explore.cohort import run

    clock = iter(range(0, 1000, 20))
    monkeypatch.setattr(run, "time", SimpleNamespace(monotonic=lambda: next(clock), sleep=lambda s: None))
    floor = Floor(Workers(), "run", cohort, attempts=2)
    with pytest.raises(SchedulerError, match="no worker has been there for 60 s, and 4 of 4 scans are left"):
        finish(run._to_the_end(floor, cohort, CohortSettings()))
