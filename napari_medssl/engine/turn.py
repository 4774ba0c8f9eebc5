"""One running job at a time; others wait their turn and may be cancelled while they wait."""

from __future__ import annotations

import threading
from collections.abc import Callable

from napari_medssl.progress import Progress, Steps, T

_POLL_S = 0.05  # how soon a waiting job notices that it may start, or that it was cancelled


class Turn:
    """A lock for generators: held from the first step to the end, an error or `close()`.

    Not a reentrant lock, which belongs to a thread: a generator may be closed by another thread than the one that
    ran it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holder: int | None = None

    def steps(self, job: Callable[[], Steps[T]]) -> Steps[T]:
        """Run `job()` when nobody else's job is running; yields Progress of unknown total while waiting.

        Raises RuntimeError when the running job was started by this very thread, which would wait for itself.
        """
        while not self._lock.acquire(timeout=_POLL_S):
            if self._holder == threading.get_ident():
                raise RuntimeError(
                    "a job of this engine is unfinished in this thread; run it to its end or call close() on its "
                    "generator before starting another"
                )
            yield Progress(0, 0, "waiting for another job")
        self._holder = threading.get_ident()
        try:
            return (yield from job())
        finally:
            self._holder = None
            self._lock.release()
