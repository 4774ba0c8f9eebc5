"""Which worker is at which case: one case for each worker, begun again elsewhere when its worker is lost."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from napari_medssl.explore.cohort.case import Case
from napari_medssl.explore.cohort.cluster import SchedulerError
from napari_medssl.explore.cohort.outcome import Outcome
from napari_medssl.explore.cohort.process import run_case

_POLL_S = 0.25
_LOOK_S = 0.02


class Floor:
    """The workers of a client, their cases, and the cases that wait.

    Dask itself would give a worker several cases ahead and blame all of them when it is lost; here a case is on one
    worker, and only what had begun there has failed there. Workers that join later get cases too.
    """

    def __init__(self, client: Any, run: str, cases: Iterable[Case], *, attempts: int) -> None:
        self._client = client
        self._run = run
        self._waiting = deque(cases)
        self._at: dict[str, tuple[Case, Any]] = {}
        self._begun: Counter[str] = Counter()
        self._attempts = attempts
        self._told: dict[str, str] = {}

    @property
    def busy(self) -> bool:
        """Whether a case is being worked on or waits."""
        return bool(self._at or self._waiting)

    @property
    def working(self) -> int:
        """Cases being worked on."""
        return len(self._at)

    def tell(self, message: Mapping[str, Any]) -> None:
        """Take down how far a case is; called from dask's own thread."""
        self._told[message["case"]] = f"{message['case']} {message['fraction']:.0%}"

    def shown(self) -> list[str]:
        """How far cases are that have said so, at most three of them."""
        at = [case.name for case, _ in list(self._at.values())]
        return [self._told[name] for name in at if name in self._told][:3]

    def turn(self) -> Iterator[Outcome]:
        """Hand out cases, wait a moment, and give what has ended.

        Raises SchedulerError when the scheduler is gone.
        """
        workers = self._workers()
        yield from self._lost(set(workers))
        for worker in workers:
            if worker not in self._at and self._waiting:
                self._begin(self._waiting.popleft(), worker)
        if self._at:
            yield from self._ended()

    def workers(self) -> int:
        """How many workers there are now."""
        return len(self._workers())

    def _workers(self) -> tuple[str, ...]:
        try:
            return tuple(self._client.nthreads())
        except (OSError, TimeoutError, RuntimeError, ValueError) as error:
            raise SchedulerError(
                f"the scheduler stopped answering ({type(error).__name__}); what is finished is kept, and the same "
                "command goes on with the rest"
            ) from error

    def _begin(self, case: Case, worker: str) -> None:
        self._begun[case.name] += 1
        future = self._client.submit(
            run_case, self._run, case, workers=[worker], allow_other_workers=False, pure=False,
            key=f"{self._run}-{case.name}-{self._begun[case.name]}",
        )  # fmt: skip
        self._at[worker] = (case, future)

    def _lost(self, workers: set[str]) -> Iterator[Outcome]:
        for worker in [w for w in self._at if w not in workers]:
            case, future = self._at.pop(worker)
            if future.done() and future.status == "finished":  # it ended first, and then its worker did
                yield from self._outcome(case, future, worker)
                continue
            future.cancel()
            yield from self._again(case, worker)

    def _again(self, case: Case, worker: str) -> Iterator[Outcome]:
        if self._begun[case.name] < self._attempts:
            self._waiting.append(case)
            return
        times = f"{self._begun[case.name]} times" if self._begun[case.name] > 1 else "once"
        reason = (
            f"the worker process ended {times} in the middle of this scan, most likely for want of memory; "
            "give it more with fewer --workers, or make it smaller with the settings"
        )
        yield Outcome(case.name, case.scan, "failed", reason, where=worker)

    def _ended(self) -> Iterator[Outcome]:
        self._wait(all_of_them=False, patience_s=_POLL_S)
        for worker, (case, future) in list(self._at.items()):
            if future.done():
                del self._at[worker]
                yield from self._outcome(case, future, worker)

    def _outcome(self, case: Case, future: Any, worker: str) -> Iterator[Outcome]:
        self._told.pop(case.name, None)
        if future.status == "finished":
            found: Any = future.result()
            if found is not None:
                yield found
        elif future.status == "error":
            error = future.exception()
            yield Outcome(case.name, case.scan, "failed", f"{type(error).__name__}: {error}", where=worker)
        else:  # the scheduler forgot it
            yield from self._again(case, worker)
        future.release()

    def stop(self, *, patience_s: float) -> None:
        """Let go of all cases; those being worked on are given a moment to end."""
        self._waiting.clear()
        self._wait(all_of_them=True, patience_s=patience_s)
        left = [future for _, future in self._at.values() if not future.done()]
        if left:
            self._client.cancel(left)
        self._at.clear()

    def _wait(self, *, all_of_them: bool, patience_s: float) -> None:
        """Until a case has ended, or all have; not by dask's own `wait`, which fails when the scheduler is gone."""
        enough = all if all_of_them else any
        end = time.monotonic() + patience_s
        while not enough(future.done() for _, future in self._at.values()) and time.monotonic() < end:
            time.sleep(_LOOK_S)
