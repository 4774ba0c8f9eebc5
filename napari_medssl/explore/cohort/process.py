"""What runs in a worker process: one engine, made once, and one case after another."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import torch
from distributed import WorkerPlugin, get_worker

from napari_medssl.explore.cohort.case import Case
from napari_medssl.explore.cohort.outcome import Outcome
from napari_medssl.explore.cohort.work import Job, case_steps, open_engine

if TYPE_CHECKING:
    from napari_medssl.engine import Engine

_TELL_S = 1.0  # how often a worker says how far it is


class CohortPlugin(WorkerPlugin):
    """Gives every worker of a run, also one that joins later, its engine, and takes it away at the end.

    name: of the run; two runs on one scheduler do not know each other. devices: for the workers of this computer, by
    their numbers; elsewhere the engine chooses. threads: to compute with; 0 leaves what the worker was started with.
    """

    def __init__(self, name: str, job: Job, *, devices: tuple[str, ...] = (), threads: int = 0) -> None:
        self.name = name
        self.job = job
        self._devices = devices
        self._threads = threads

    def setup(self, worker: Any) -> None:
        """Called by dask on each worker."""
        self.stopped = threading.Event()
        self._engine: Engine | None = None
        self._making = threading.Lock()
        self._number = worker.name if isinstance(worker.name, int) else 0
        if self._threads:
            torch.set_num_threads(self._threads)

    def teardown(self, worker: Any) -> None:
        """Called by dask when the run ends or the worker does."""
        self.stopped.set()
        if self._engine is not None:
            self._engine.close()

    @property
    def engine(self) -> Engine:
        """Made when it is first asked for: dask allows `setup` little time, and loading PyTorch takes some."""
        with self._making:
            if self._engine is None:
                device = self._devices[self._number % len(self._devices)] if self._devices else "auto"
                self._engine = open_engine(self.job, device)
            return self._engine


def run_case(name: str, case: Case) -> Outcome | None:
    """Work on one case, in the thread dask gives it; None when the run was stopped before it was done."""
    worker: Any = get_worker()
    plugin: CohortPlugin = worker.plugins[name]
    steps = case_steps(case, plugin.job, plugin.engine)
    told = time.monotonic()
    try:
        while not plugin.stopped.is_set():
            try:
                progress = next(steps)
            except StopIteration as stop:
                outcome: Outcome = stop.value
                return outcome
            if time.monotonic() - told > _TELL_S:
                told = time.monotonic()
                worker.log_event(name, {"case": case.name, "label": progress.label, "fraction": progress.fraction})
        return None
    finally:
        steps.close()


def stop_run(name: str, dask_worker: Any = None) -> None:
    """Ask the case a worker is at to end at its next step; dask gives `dask_worker`."""
    plugin = dask_worker.plugins.get(name)
    if plugin is not None:
        plugin.stopped.set()
