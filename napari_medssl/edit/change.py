"""What an edit changes: the voxels, what they were and what they become."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Change:
    """A change of a label map, kept as its changed voxels alone: to be applied, and taken back exactly.

    shape: (Z, Y, X) of the map. index: (N,) int64 flat positions in it, ascending. before, after: (N,) labels there.
    organs: those the edit worked on. notes: what was left out and why, as sentences.
    """

    shape: tuple[int, int, int]
    index: np.ndarray
    before: np.ndarray
    after: np.ndarray
    organs: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.index)

    def applied(self, labels: np.ndarray) -> np.ndarray:
        """A copy of `labels` (Z, Y, X) with the change."""
        made = labels.copy()
        made.reshape(-1)[self.index] = self.after
        return made

    def reverted(self, labels: np.ndarray) -> np.ndarray:
        """A copy of `labels` (Z, Y, X) without the change."""
        made = labels.copy()
        made.reshape(-1)[self.index] = self.before
        return made

    def zyx(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Positions along Z, Y, X, each (N,) in the smallest unsigned type that holds them."""
        kind = np.min_scalar_type(max(self.shape))
        z, y, x = (axis.astype(kind) for axis in np.unravel_index(self.index, self.shape))
        return z, y, x

    def facts(self) -> dict[str, Any]:
        """Added and removed voxels of every label that gained or lost some, ready for JSON."""
        values: Sequence[int] = [int(v) for v in np.union1d(self.before, self.after) if v]
        return {
            "voxels_changed": len(self),
            "voxels": {
                value: {
                    "added": int(np.count_nonzero(self.after == value)),
                    "removed": int(np.count_nonzero(self.before == value)),
                }
                for value in values
            },
        }
