"""Results kept in memory up to a number of bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Generic, Protocol, TypeVar


class Sized(Protocol):
    """What knows its own size: arrays, feature grids."""

    @property
    def nbytes(self) -> int: ...


T = TypeVar("T", bound=Sized)


class BoundedCache(Generic[T]):
    """Values by key, at most `budget_bytes` of them; the least recently used go first. Safe in several threads.

    A value larger than the whole budget is not kept. One that was handed out stays valid when it is dropped.
    """

    def __init__(self, budget_bytes: int) -> None:
        self.budget_bytes = budget_bytes
        self._kept: OrderedDict[str, T] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Bytes kept now."""
        with self._lock:
            return self._sum()

    def get(self, key: str) -> T | None:
        """The value of `key`, or None."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: str, value: T) -> None:
        """Keep a value, and drop others until the budget holds."""
        if value.nbytes > self.budget_bytes:
            return
        with self._lock:
            self._kept[key] = value
            self._kept.move_to_end(key)
            while self._sum() > self.budget_bytes:
                self._kept.popitem(last=False)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._kept.clear()

    def _sum(self) -> int:
        return sum(value.nbytes for value in self._kept.values())
