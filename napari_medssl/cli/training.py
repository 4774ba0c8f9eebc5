"""Following a training run on the console: what was left out, how long it takes, and Ctrl-C between two steps."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from napari_medssl.cli.console import Console
    from napari_medssl.progress import Progress, Steps

T = TypeVar("T")

_LONG_HOURS = 2.0  # a run that takes longer is announced
_STOPPING = "stopping after this step; Ctrl-C again stops at once and loses what came after the last saved state"


def follow_training(console: Console, steps: Steps[T], out: Path, *, limit_minutes: float = 0.0) -> tuple[T, list[str]]:
    """Run training to its end; gives what it returns, and sentences on scans that were left out.

    The first Ctrl-C ends it between two steps, with its state saved, and says how to go on; then KeyboardInterrupt is
    raised. out: folder of the run, or of several. limit_minutes: `run.max_minutes`; then its length is no surprise.
    """
    from napari_medssl.train.notes import collected_notes

    with collected_notes() as notes, _stop_asked(console) as asked:
        try:
            return console.follow(_watched(console, steps, notes, asked, limit_minutes)), notes
        except KeyboardInterrupt:
            console.remark(f"the same command goes on with what is in {out}; prepared scans and saved states are kept")
            raise


def _watched(
    console: Console, steps: Steps[T], notes: list[str], asked: threading.Event, limit_minutes: float
) -> Steps[T]:
    from napari_medssl.progress import reporting

    said, pace = 0, _Pace()

    def tell_notes() -> None:
        nonlocal said
        for note in notes[said:]:
            console.remark(note)
        said = len(notes)

    def see(progress: Progress) -> Progress:
        tell_notes()
        if not limit_minutes:
            for sentence in pace.seen(progress):
                console.remark(sentence)
        if asked.is_set():
            raise KeyboardInterrupt  # between two steps: the run saves its state
        return progress

    try:
        return (yield from reporting(steps, see))
    finally:
        tell_notes()


class _Pace:
    """Tells once, after two steps, of a run that will take hours."""

    def __init__(self) -> None:
        self._label, self._began, self._first, self._told = "", 0.0, 0, False

    def seen(self, progress: Progress) -> Iterator[str]:
        if not hasattr(progress, "values") or self._told:
            return
        if progress.label != self._label:
            self._label, self._began, self._first = progress.label, time.monotonic(), progress.done
            return
        self._told = True
        step = (time.monotonic() - self._began) / max(1, progress.done - self._first)
        hours = step * (progress.total - progress.done) / 3600
        if hours > _LONG_HOURS:
            yield (
                f"a step takes {step:.1f} s here, so the {progress.total - progress.done} to come take about "
                f"{hours:.0f} hours; --small trains in minutes, and --set run.max_minutes=N ends it in time"
            )


@contextmanager
def _stop_asked(console: Console) -> Iterator[threading.Event]:
    """An event that the first Ctrl-C sets; the second interrupts as ever. Only the main thread hears of signals."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def on_signal(number: int, frame: Any) -> None:
        asked.set()
        signal.signal(signal.SIGINT, before)
        console.remark(_STOPPING)

    before = signal.signal(signal.SIGINT, on_signal)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)
