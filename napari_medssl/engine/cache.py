"""Features computed once and kept: a least-recently-used cache with a bound in bytes, optionally over a disk store."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from dataclasses import asdict, dataclass
from functools import cached_property

from napari_medssl.engine.disk_store import DiskStore
from napari_medssl.models.features import FeatureStack


@dataclass(frozen=True)
class FeatureKey:
    """What features depend on; equal keys mean equal features.

    volume: `Volume.content_hash`. weights: hash of the encoder. preprocessing: digest of everything between voxels
    and encoder input (window, frame, neighbours, slices). precision: of computing and storing.
    """

    volume: str
    weights: str
    preprocessing: str
    precision: str

    @cached_property
    def name(self) -> str:
        """64 hexadecimal digits that stand for the key, usable as a file name."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class CacheStatistics:
    """Counts since the cache was made; `hits` counts both memory and disk, `nbytes` is what is in memory now."""

    hits: int
    disk_hits: int
    misses: int
    evictions: int
    entries: int
    nbytes: int
    budget_bytes: int


class FeatureCache:
    """Features by key, at most `budget_bytes` of them in memory; safe to use from several threads.

    disk: where features also go and are found again in a later session, or None.

    A stack larger than the whole budget is not kept in memory (but does go to the disk store). A stack handed out
    stays valid when it is evicted.
    """

    def __init__(self, budget_bytes: int, *, disk: DiskStore | None = None) -> None:
        self.budget_bytes = budget_bytes
        self.disk = disk
        self._stacks: OrderedDict[str, FeatureStack] = OrderedDict()  # least recently used first
        self._nbytes = 0
        self._hits = self._disk_hits = self._misses = self._evictions = 0
        self._lock = threading.Lock()

    def get(self, key: FeatureKey) -> FeatureStack | None:
        """The features of `key`, or None; a disk hit is brought back into memory."""
        with self._lock:
            stack = self._stacks.get(key.name)
            if stack is not None:
                self._stacks.move_to_end(key.name)
                self._hits += 1
                return stack
        # Reading from disk takes long: outside the lock, so that another thread's hit in memory need not wait.
        stack = self.disk.read(key.name) if self.disk is not None else None
        with self._lock:
            if stack is None:
                self._misses += 1
                return None
            self._hits += 1
            self._disk_hits += 1
            self._keep(key.name, stack)
            return stack

    def put(self, key: FeatureKey, stack: FeatureStack) -> None:
        """Keep `stack`, and drop the least recently used ones until the budget holds."""
        with self._lock:
            self._keep(key.name, stack)
        if self.disk is not None:
            self.disk.write(key.name, stack)

    def clear(self) -> None:
        """Forget everything in memory; the disk store stays."""
        with self._lock:
            self._stacks.clear()
            self._nbytes = 0

    @property
    def statistics(self) -> CacheStatistics:
        """Counts and sizes at this moment."""
        with self._lock:
            return CacheStatistics(
                self._hits,
                self._disk_hits,
                self._misses,
                self._evictions,
                len(self._stacks),
                self._nbytes,
                self.budget_bytes,
            )

    def _keep(self, name: str, stack: FeatureStack) -> None:
        old = self._stacks.pop(name, None)
        self._nbytes -= old.nbytes if old is not None else 0
        if stack.nbytes > self.budget_bytes:
            return
        self._stacks[name] = stack
        self._nbytes += stack.nbytes
        while self._nbytes > self.budget_bytes:
            _, dropped = self._stacks.popitem(last=False)
            self._nbytes -= dropped.nbytes
            self._evictions += 1
