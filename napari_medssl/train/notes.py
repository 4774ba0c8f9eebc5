"""What the library logs while a run goes on, for the person who waits for it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collected_notes() -> Iterator[list[str]]:
    """A list that grows by every warning the library logs in this thread, such as a scan that was left out."""
    notes: list[str] = []
    collector, logger = _Collector(notes), logging.getLogger("napari_medssl")
    logger.addHandler(collector)
    try:
        yield notes
    finally:
        logger.removeHandler(collector)


class _Collector(logging.Handler):
    def __init__(self, notes: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._notes, self._thread = notes, threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:  # another run may be under way beside this one
            self._notes.append(record.getMessage())
