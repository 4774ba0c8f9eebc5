"""A cohort from its first scan to its last, in this process or on workers."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeAlias

from napari_medssl.explore.cohort.case import Case
from napari_medssl.explore.cohort.outcome import Outcome
from napari_medssl.explore.cohort.settings import CohortSettings
from napari_medssl.explore.cohort.work import Job, case_steps, open_engine
from napari_medssl.progress import Progress, Steps, reporting

_STOP_S = 5.0  # how long cases may take to end when the run is cancelled
_LABEL = "scans"
Runner: TypeAlias = Callable[[Sequence[Case], Job], Steps[tuple[Outcome, ...]]]


def here_steps(cases: Sequence[Case], job: Job) -> Steps[tuple[Outcome, ...]]:
    """The cases one after another, in this process; the result in the order of the cases."""
    done: list[Outcome] = []
    with open_engine(job) as engine:
        for number, case in enumerate(cases):
            head = f"{number + 1} of {len(cases)}: " if len(cases) > 1 else ""

            def named(progress: Progress, head: str = head) -> Progress:
                return Progress(progress.done, progress.total, f"{head}{progress.label}", progress.note)

            done.append((yield from reporting(case_steps(case, job, engine), named)))
    return tuple(done)


def cohort_steps(
    client: Any, cases: Sequence[Case], job: Job, settings: CohortSettings | None = None,
    *, devices: tuple[str, ...] = (), threads: int = 0,
) -> Steps[tuple[Outcome, ...]]:  # fmt: skip
    """The cases on the workers of a dask client; the result in the order of the cases.

    Tasks carry paths, not voxels: the workers must see the scans and `job.out` under the same paths. Each worker makes
    one engine and has one case at a time. A case whose worker is lost is begun again `settings.attempts - 1` times.
    Closing the generator asks the workers to stop at their next step, and waits some seconds for that.

    devices, threads: for the workers of this computer, see `CohortPlugin`.

    Raises SchedulerError when the scheduler is gone, or no worker is left and none comes for `settings.patience_s`.
    """
    from napari_medssl.explore.cohort.floor import Floor
    from napari_medssl.explore.cohort.process import CohortPlugin

    settings = settings or CohortSettings()
    run = f"medssl-{secrets.token_hex(4)}"
    floor = Floor(client, run, cases, attempts=settings.attempts)
    client.register_plugin(CohortPlugin(run, job, devices=devices, threads=threads))
    client.subscribe_topic(run, lambda event: floor.tell(event[1]))
    try:
        found = yield from _to_the_end(floor, cases, settings)
    finally:
        _leave(client, run, floor)
    order = {case.name: n for n, case in enumerate(cases)}
    return tuple(sorted(found, key=lambda outcome: order[outcome.name]))


def _to_the_end(floor: Any, cases: Sequence[Case], settings: CohortSettings) -> Steps[list[Outcome]]:
    from napari_medssl.explore.cohort.cluster import SchedulerError

    found: list[Outcome] = []
    alone_since = None
    while floor.busy:
        found.extend(floor.turn())
        yield Progress(len(found), len(cases), _LABEL, _note(floor, found))
        if floor.working or not floor.busy:
            alone_since = None
            continue
        alone_since = alone_since or time.monotonic()
        if time.monotonic() - alone_since > settings.patience_s:
            left = len(cases) - len(found)
            raise SchedulerError(
                f"no worker has been there for {settings.patience_s:g} s, and {left} of {len(cases)} scans are left; "
                "what is finished is kept, and the same command goes on with the rest"
            )
        time.sleep(0.2)
    return found


def _note(floor: Any, found: Sequence[Outcome]) -> str:
    failed = sum(outcome.state == "failed" for outcome in found)
    parts = [f"{failed} failed"] if failed else []
    return ", ".join([*parts, *floor.shown()])


def _leave(client: Any, run: str, floor: Any) -> None:
    """Take everything of this run off the workers; a scheduler that is gone needs no tidying."""
    from napari_medssl.explore.cohort.process import stop_run

    with suppress(OSError, TimeoutError, RuntimeError, ValueError):
        if floor.working:
            client.run(stop_run, run)
        floor.stop(patience_s=_STOP_S)
        client.unsubscribe_topic(run)
        client.unregister_worker_plugin(run)


@contextmanager
def open_runner(
    settings: CohortSettings, scans: int, *, device: str = "auto", scheduler: str | None = None,
    dashboard: bool = False, here: bool = False, tell: Callable[[str], None] = lambda text: None,
) -> Iterator[Runner]:  # fmt: skip
    """What works through cases, as often as asked; the workers are started once and end with the block.

    scans: how many there are, for the number of workers. scheduler: address of one that runs already; otherwise worker
    processes of this computer are used, or this process for a single scan and with `here`. tell: is told which workers
    are started, which takes some seconds.

    The workers of this computer import the program that calls this: a script must do so behind
    `if __name__ == "__main__":`. Raises SchedulerError as `scheduler_client` and `local_client` do.
    """
    if scheduler is None and (here or (scans <= 1 and not dashboard)):
        yield here_steps
        return
    from napari_medssl.explore.cohort.cluster import local_client, plan_local, scheduler_client

    if scheduler is not None:
        with scheduler_client(scheduler, patience_s=settings.patience_s) as client:
            yield lambda cases, job: cohort_steps(client, cases, job, settings, threads=settings.threads)
        return
    plan = plan_local(settings, scans, device=device)
    tell(f"starting worker processes for {scans} scans: {plan.workers}, with {plan.threads} thread(s) each")
    with local_client(plan, dashboard=dashboard) as client:
        yield lambda cases, job: cohort_steps(client, cases, job, settings, devices=plan.devices, threads=plan.threads)
