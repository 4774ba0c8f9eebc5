"""Workers for a cohort: processes on this computer, or those of a scheduler that runs already."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from multiprocessing import resource_tracker
from typing import Any

import dask
import psutil  # type: ignore[import-untyped]

from napari_medssl.engine.memory import available_bytes
from napari_medssl.errors import MedSSLError
from napari_medssl.explore.cohort.settings import CohortSettings

_GIB = 1 << 30
# A 512 x 512 x 400 CT as float32 is 0.4 GiB; reading, resampling and features of it stay below this.
_WORKER_BYTES = 4 * _GIB
_UNKNOWN_BYTES = 8 * _GIB  # taken to be free where the system does not say
_CLOSE_S = 5  # then a worker in the middle of a step is killed; what it had begun lies in the staging folder
_LOGGERS = ("distributed", "distributed.client", "distributed.gc", "tornado", "tornado.application", "asyncio", "bokeh")
_LEVELS = dict.fromkeys(_LOGGERS, "critical")
# The results of cases are a few hundred bytes: what fills a worker is its work, which no spilling and no pausing frees
# (a worker that pauses with its memory full waits for ever); only ending it helps. Profiling costs and is not shown.
_CONFIG = {
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": 0.95,
    "distributed.worker.profile.enabled": False,
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.scheduler.allowed-failures": 100,  # attempts are counted here, and only of what had begun
    "distributed.logging": _LEVELS,
}


class SchedulerError(MedSSLError):
    """A scheduler cannot be reached, has no worker, or one whose workers cannot do the work."""


@dataclass(frozen=True)
class Plan:
    """How many processes with how many threads, bytes of memory, and which devices (empty: the engine chooses)."""

    workers: int
    threads: int
    memory: int
    devices: tuple[str, ...] = ()


def plan_local(settings: CohortSettings, cases: int, *, device: str = "auto") -> Plan:
    """What this computer gives a cohort of `cases` scans.

    One worker per GPU when the engine may choose the device and there are several; one for one GPU. Otherwise as many
    as there are scans, cores, and 4 GiB of free memory. What the settings name is taken.
    """
    gpus = _gpus() if device == "auto" else 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    free = available_bytes() or _UNKNOWN_BYTES
    fitting = gpus or max(1, min(cores, free // _WORKER_BYTES))
    workers = settings.workers or max(1, min(cases, fitting))
    threads = settings.threads or max(1, cores // workers)
    memory = int(settings.memory_gb * _GIB) or int(0.95 * free / workers)
    return Plan(workers, threads, memory, tuple(f"cuda:{n}" for n in range(gpus)) if gpus > 1 else ())


def _gpus() -> int:
    import torch

    return torch.cuda.device_count()  # counts without opening any of them


@contextmanager
def local_client(plan: Plan, *, dashboard: bool = False, processes: bool = True) -> Iterator[Any]:
    """A dask client with worker processes on this computer, which listen on 127.0.0.1 alone; all end with the block.

    dashboard: also show dask's page, on 127.0.0.1 too. processes: False keeps the workers in threads of this process.

    Raises SchedulerError when the dashboard cannot be shown.
    """
    if dashboard and find_spec("bokeh") is None:
        raise SchedulerError("dask's dashboard needs the package bokeh; install it, or leave --dashboard out")
    environment = {f"{name}_NUM_THREADS": str(plan.threads) for name in ("OMP", "MKL", "OPENBLAS")}
    quiet = {"DASK_DISTRIBUTED__LOGGING": repr(_LEVELS)}  # for what a worker says before it knows its settings
    spawn = {"distributed.nanny.pre-spawn-environ": {**environment, **quiet}}
    with dask.config.set({**_CONFIG, **spawn}), _silence():
        import distributed

        kinds: Any = distributed  # not annotated
        more: dict[str, Any] = {"env": environment} if processes else {}
        cluster = None
        try:
            with _without_interrupts():
                cluster = kinds.LocalCluster(
                    n_workers=plan.workers, threads_per_worker=1, processes=processes, host="127.0.0.1",
                    protocol="tcp://", memory_limit=plan.memory, silence_logs=logging.CRITICAL,
                    dashboard_address=f"127.0.0.1:{8787 if dashboard else 0}",
                    scheduler_kwargs={"dashboard": dashboard}, **more,
                )  # fmt: skip
            with kinds.Client(cluster, set_as_default=False) as client:
                yield client
        finally:
            if cluster is not None:  # also after a Ctrl-C that came while it started
                _close(cluster)


def _close(cluster: Any) -> None:
    """End the worker processes, kindly first."""
    try:
        cluster.close(timeout=_CLOSE_S)
    except TimeoutError:
        for nanny in cluster.workers.values():
            with suppress(psutil.NoSuchProcess, AttributeError):  # workers in threads have no process
                psutil.Process(nanny.pid).kill()
        with suppress(TimeoutError):
            cluster.close(timeout=_CLOSE_S)


@contextmanager
def scheduler_client(address: str, *, patience_s: float) -> Iterator[Any]:
    """A dask client of a scheduler that runs already, with at least one worker.

    Raises SchedulerError when it does not answer, stays without workers, or has workers without this package.
    """
    with dask.config.set(_CONFIG), _silence():
        import distributed

        kinds: Any = distributed
        try:
            client = kinds.Client(address, timeout=min(patience_s, 20), set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            raise SchedulerError(
                f"no dask scheduler answers at {address} ({_line(error)}); start one with 'dask scheduler', or leave "
                "--scheduler out to work on this computer"
            ) from error
        with client:
            try:
                client.wait_for_workers(1, timeout=patience_s)
            except TimeoutError as error:
                raise SchedulerError(
                    f"the scheduler at {address} has no worker; start some with 'dask worker {address}'"
                ) from error
            _check_workers(client)
            yield client


def _check_workers(client: Any) -> None:
    there = client.run(find_spec, "napari_medssl")
    without = [worker for worker, found in there.items() if found is None]
    if without:
        raise SchedulerError(
            f"the worker {without[0]} cannot import napari_medssl; install the same version there, or start workers "
            "from the environment this command runs in"
        )


def _line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


@contextmanager
def _silence() -> Iterator[None]:
    """Keep the logs of dask and tornado off the console: what they tell of a lost worker is in the results."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Processes and threads started here never see Ctrl-C, which a terminal sends to all of them: this one tells them.

    Signal masks are inherited; where there are none (Windows) a child may say that it was interrupted. Python's tracker
    of shared resources would lift the mask when the first process starts it, so it is started before.
    """
    if not hasattr(signal, "pthread_sigmask") or threading.current_thread() is not threading.main_thread():
        yield
        return
    _start_tracker()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_tracker() -> None:
    """Python's tracker of shared resources; it would tell the user what a killed worker had open."""
    name, quiet = "PYTHONWARNINGS", "ignore:resource_tracker:UserWarning"
    before = os.environ.get(name)
    os.environ[name] = f"{before},{quiet}" if before else quiet
    try:
        resource_tracker.ensure_running()
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
