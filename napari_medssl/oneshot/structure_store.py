"""What the recogniser found in scans, kept, so that the next organ of a scan costs little."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import numpy.typing as npt


class StructureStore:
    """Probabilities of structures by scan and data set, bounded in bytes; the least recently used go first."""

    def __init__(self, budget_bytes: int = 256 * 2**20) -> None:
        self.budget_bytes = budget_bytes
        self._maps: OrderedDict[str, npt.NDArray[np.uint8]] = OrderedDict()

    def get(self, key: str) -> npt.NDArray[np.uint8] | None:
        """The maps of this key, or None."""
        if key in self._maps:
            self._maps.move_to_end(key)
        return self._maps.get(key)

    def put(self, key: str, maps: npt.NDArray[np.uint8]) -> None:
        """Keep maps; others are dropped when the budget is exceeded. Maps beyond the whole budget are not kept."""
        if maps.nbytes > self.budget_bytes:
            return
        self._maps[key] = maps
        self._maps.move_to_end(key)
        while self.nbytes > self.budget_bytes:
            self._maps.popitem(last=False)

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        return sum(m.nbytes for m in self._maps.values())

    def clear(self) -> None:
        """Drop everything."""
        self._maps.clear()
