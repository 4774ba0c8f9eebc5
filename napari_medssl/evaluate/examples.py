"""Labelled examples of a downstream task: slices or whole exams, what is known of them, and whose they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

Kind: TypeAlias = Literal["several", "one", "number"]
"""Several labels at once (yes or no each), one class out of some, or a number."""

IntArray: TypeAlias = npt.NDArray[np.intp]
FloatArray: TypeAlias = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Examples:
    """What is predicted from what.

    task: its name. kind: of the targets. labels: names of the L columns.
    targets: (N, L) float32: 0 or 1 each, one-hot classes, or numbers. subjects: (N,) the person of each example.
    strata: (N,) group of that person, kept even between folds; all equal when there are none.
    scan: (N,) number of the scan. slices: of each example, the slices of the scan that belong to it.
    """

    task: str
    kind: Kind
    labels: tuple[str, ...]
    targets: FloatArray
    subjects: npt.NDArray[Any]
    strata: npt.NDArray[Any]
    scan: IntArray
    slices: tuple[IntArray, ...]

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def bags(self) -> bool:
        """Whether examples are sets of slices."""
        return any(len(s) > 1 for s in self.slices)
