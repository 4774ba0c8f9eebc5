"""Quick work asked for faster than it is done: only the newest request counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from qtpy.QtCore import QObject, Signal

from napari_medssl.progress import Steps
from napari_medssl.widgets._work import Job

T = TypeVar("T")


class Latest(QObject, Generic[T]):
    """Runs one request at a time in a thread. One asked for meanwhile waits; a newer one takes its place.

    Signals, in the GUI thread: `answered` with what the work returned, `failed` with its error, `idle` when nothing
    is left to do.
    """

    answered = Signal(object)
    failed = Signal(object)
    idle = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._job: Job[T] | None = None
        self._next: Callable[[], T] | None = None
        self._stopped = False

    @property
    def busy(self) -> bool:
        """Whether something is under way."""
        return self._job is not None

    def ask(self, work: Callable[[], T]) -> None:
        """Do this as soon as may be."""
        self._stopped = False
        if self._job is not None:
            self._next = work
        else:
            self._start(work)

    def stop(self) -> None:
        """Forget what is asked; touches no Qt, so it may come after the widget's end."""
        self._stopped, self._next = True, None
        if self._job is not None:
            self._job.cancel()

    def _start(self, work: Callable[[], T]) -> None:
        def steps() -> Steps[T]:
            yield from ()
            return work()

        job: Job[T] = Job(steps)
        self._job = job
        job.returned.connect(self._on_returned)
        job.failed.connect(self._on_failed)
        job.ended.connect(self._on_ended)
        job.start()

    def _on_returned(self, value: Any) -> None:
        if not self._stopped:
            self.answered.emit(value)

    def _on_failed(self, error: Any) -> None:
        if not self._stopped:
            self.failed.emit(error)

    def _on_ended(self) -> None:
        work, self._job, self._next = self._next, None, None
        if work is not None and not self._stopped:
            self._start(work)
        else:
            self.idle.emit()
