"""What a user has painted over a result: some voxels, certain, and nothing said of all others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_medssl.errors import SupportError


@dataclass(frozen=True, eq=False)
class Stroke:
    """Voxels of a scan and what they are.

    at: (N, 3) whole numbers, z y x of each voxel. values: (N,) the organ there; 0 where there is none of the organs.

    Unlike a labelled slice it claims nothing of the pixels beside it. Raises SupportError when the shapes do not fit
    or a value is negative.
    """

    at: np.ndarray
    values: np.ndarray

    def __post_init__(self) -> None:
        at, values = np.asarray(self.at), np.asarray(self.values)
        if at.ndim != 2 or at.shape[1] != 3 or values.shape != at.shape[:1]:
            raise SupportError(
                f"a stroke has voxels of shape {at.shape} and values of shape {values.shape}; "
                "give (N, 3) indices z y x and (N,) organs"
            )
        if len(at) and (at.min() < 0 or values.min() < 0):
            raise SupportError("a stroke has a negative index or organ; indices count from 0, and 0 means no organ")
        object.__setattr__(self, "at", at.astype(np.int32))
        object.__setattr__(self, "values", values.astype(np.int32))

    def __len__(self) -> int:
        return len(self.at)

    @property
    def index(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """For indexing a (Z, Y, X) array."""
        return self.at[:, 0], self.at[:, 1], self.at[:, 2]

    def check(self, shape: tuple[int, int, int]) -> None:
        """Raise SupportError when a voxel lies outside a scan of this shape."""
        if len(self) and (self.at.max(axis=0) >= shape).any():
            z, y, x = (int(n) for n in self.at[(self.at >= shape).any(axis=1)][0])
            raise SupportError(
                f"a stroke has the voxel ({z}, {y}, {x}) but the scan has {shape}; it is of another scan"
            )


def painted(before: np.ndarray, after: np.ndarray) -> Stroke | None:
    """What was painted between two states of a label map (Z, Y, X); None when they are alike."""
    at = np.argwhere(before != after)
    return Stroke(at, after[tuple(at.T)]) if len(at) else None
