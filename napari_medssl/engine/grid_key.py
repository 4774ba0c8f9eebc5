"""Feature grids computed once and kept in memory, least recently used out first."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from napari_medssl.dense.grid import FeatureGrid
from napari_medssl.dense.settings import ExtractSettings
from napari_medssl.settings import to_dict

_MAKING = 1  # raise it when grids are made in another way


class GridCache:
    """Grids by key, at most `budget_bytes` of them; safe to use from several threads.

    A grid larger than the whole budget is not kept. One that was handed out stays valid when it is dropped.
    """

    def __init__(self, budget_bytes: int) -> None:
        self.budget_bytes = budget_bytes
        self._grids: OrderedDict[str, FeatureGrid] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Bytes kept now."""
        with self._lock:
            return sum(grid.nbytes for grid in self._grids.values())

    def get(self, key: str) -> FeatureGrid | None:
        """The grid of `key`, or None."""
        with self._lock:
            if key in self._grids:
                self._grids.move_to_end(key)
            return self._grids.get(key)

    def put(self, key: str, grid: FeatureGrid) -> None:
        """Keep a grid, and drop others until the budget holds."""
        if grid.nbytes > self.budget_bytes:
            return
        with self._lock:
            self._grids[key] = grid
            self._grids.move_to_end(key)
            while sum(kept.nbytes for kept in self._grids.values()) > self.budget_bytes:
                self._grids.popitem(last=False)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._grids.clear()


def grid_key(content_hash: str, facts: Mapping[str, Any], settings: ExtractSettings, precision: str) -> str:
    """What a grid depends on: the scan's content, the weights, the settings, the precision of computing."""
    told = [_MAKING, content_hash, facts.get("name"), facts.get("weights_sha256"), to_dict(settings), precision]
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()
