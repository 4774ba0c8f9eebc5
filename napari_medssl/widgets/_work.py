"""A progress bar that runs long work in a thread, with time left and Cancel."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QProgressBar, QPushButton, QVBoxLayout, QWidget
from superqt.utils import GeneratorWorker

from napari_medssl.errors import MedSSLError
from napari_medssl.progress import Progress, Steps
from napari_medssl.widgets._notify import tell_error

T = TypeVar("T")
_SHOW_AFTER_S = 1.0  # an estimate from less than this jumps about


@dataclass(frozen=True)
class _Failed:
    error: BaseException


def _guarded(make: Callable[[], Steps[T]]) -> Generator[Progress, None, T | _Failed]:
    # superqt takes a RuntimeError for a deleted Qt object: it neither reports it nor ends the worker. Torch raises
    # RuntimeError for nearly everything (a lost GPU included), so it must come out as a value.
    try:
        return (yield from make())
    except RuntimeError as error:
        return _Failed(error)


class _Worker(GeneratorWorker[Progress, None, Any]):
    """superqt's worker, which also closes an abandoned generator in its own thread.

    Left to the garbage collector, locks and GPU memory held by the steps would be let go in another thread, later.
    """

    def work(self) -> Any:
        try:
            return super().work()
        finally:
            self._gen.close()


class Clock:
    """Time left of a stage, from the time it has taken so far. A new label starts a new stage."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._label = ""
        self._start = 0.0
        self._first = 0.0

    def left(self, progress: Progress) -> str:
        """Such as "about 12 s left"; empty while it cannot be told."""
        if progress.label != self._label:
            self._label, self._start, self._first = progress.label, self._now(), progress.fraction
        elapsed, gained = self._now() - self._start, progress.fraction - self._first
        if gained <= 0 or elapsed < _SHOW_AFTER_S:
            return ""
        seconds = elapsed * (1.0 - progress.fraction) / gained
        return f"about {seconds / 60:.0f} min left" if seconds >= 90 else f"about {seconds:.0f} s left"


class Job(QObject, Generic[T]):
    """One piece of work in a worker thread. Signals arrive in the GUI thread, `ended` always and last."""

    progressed = Signal(object)
    returned = Signal(object)
    failed = Signal(object)
    ended = Signal()

    def __init__(self, make: Callable[[], Steps[T]]) -> None:
        super().__init__()
        self.cancelled = False
        self._worker = _Worker(_guarded, make)
        self._worker.yielded.connect(self._on_yielded)
        self._worker.returned.connect(self._on_returned)
        self._worker.errored.connect(self._on_failed)
        self._worker.finished.connect(self.ended)

    def start(self) -> None:
        """Start the thread."""
        self._worker.start()

    def cancel(self) -> None:
        """Stop at the next step; no result comes any more."""
        self.cancelled = True
        self._worker.quit()

    def _on_yielded(self, progress: Progress) -> None:
        if not self.cancelled:
            self.progressed.emit(progress)

    def _on_returned(self, value: T | _Failed) -> None:
        if isinstance(value, _Failed):
            self._on_failed(value.error)
        elif not self.cancelled:
            self.returned.emit(value)

    def _on_failed(self, error: BaseException) -> None:
        if not self.cancelled:
            self.failed.emit(error)


class WorkBar(QWidget):
    """Runs one job at a time. A request while one runs is refused: `start` returns False.

    Signal `progressed` carries each Progress of the job, in the GUI thread.
    """

    running_changed = Signal(bool)
    progressed = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._job: Job[Any] | None = None
        self._clock = Clock()
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.label = QLabel()
        self.label.setWordWrap(True)
        self.cancel_button = QPushButton("Cancel")
        self.cancel_button.clicked.connect(lambda: self.cancel())
        row = QHBoxLayout()
        row.addWidget(self.bar, 1)
        row.addWidget(self.cancel_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(row)
        layout.addWidget(self.label)
        self._show_running(False)

    @property
    def running(self) -> bool:
        """Whether a job is under way."""
        return self._job is not None

    def start(self, make: Callable[[], Steps[T]], on_result: Callable[[T], None], *, doing: str) -> bool:
        """Run the steps that `make` gives in a thread and hand the result to `on_result` in the GUI thread.

        doing: what it is, for error sentences ("The segmentation"). Returns False when something is running.
        """
        if self._job is not None:
            return False
        job: Job[T] = Job(make)
        self._job = job
        self._clock = Clock()
        job.progressed.connect(self._on_progress)
        job.returned.connect(lambda value: self._on_returned(value, on_result, doing))
        job.failed.connect(lambda error: self._on_failed(error, doing))
        job.ended.connect(self._on_ended)
        self.label.setText("Starting")
        self.bar.setRange(0, 0)
        self._show_running(True)
        job.start()
        return True

    def cancel(self, why: str = "Cancelled.") -> None:
        """Stop the job at its next step and say why."""
        if self._job is None or self._job.cancelled:
            return
        self._job.cancel()
        self.cancel_button.setEnabled(False)
        self.label.setText(why)

    def detach(self) -> None:
        """Cancel without a word; touches no Qt, so it may come after the widget's end."""
        if self._job is not None:
            self._job.cancel()

    def _on_progress(self, progress: Progress) -> None:
        self.bar.setRange(0, 1000 if progress.total > 1 else 0)  # of one single step nothing can be told: busy
        self.bar.setValue(round(1000 * progress.fraction))
        left = self._clock.left(progress)
        label = progress.label[:1].upper() + progress.label[1:]
        self.label.setText(" · ".join(text for text in (label, progress.note, left) if text))
        self.progressed.emit(progress)

    def _on_returned(self, value: T, on_result: Callable[[T], None], doing: str) -> None:
        self.label.setText("")
        try:
            on_result(value)
        except MedSSLError as error:
            self._on_failed(error, doing)

    def _on_failed(self, error: BaseException, doing: str) -> None:
        self.label.setText(tell_error(error, doing))

    def _on_ended(self) -> None:
        self._job = None
        self._show_running(False)

    def _show_running(self, running: bool) -> None:
        self.bar.setVisible(running)
        self.cancel_button.setVisible(running)
        self.cancel_button.setEnabled(running)
        self.label.setVisible(running or bool(self.label.text()))
        self.running_changed.emit(running)
