"""A scan or label map: an array and where it lies in the patient."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from napari_medssl.errors import GeometryError
from napari_medssl.labels import Label

Modality = Literal["auto", "CT", "MR"]
Affine = npt.NDArray[np.float64]


class SoftRange(NamedTuple):
    """Slices that hold an organ for sure, and perhaps more than that: half-open, as (low, high).

    A plain pair as `slice_range` of a segmentation says where the organ begins and ends; this one only where it is not.

    >>> SoftRange(3, 9) == (3, 9)
    True
    """

    low: int
    high: int


@dataclass(frozen=True)
class NativeGrid:
    """The grid of the file a volume came from, and how its axes became (Z, Y, X).

    affine: (4, 4) float64, file index (i, j, k) to RAS mm, exactly as stored.
    shape: file shape (i, j, k).
    axes: for Z, Y, X in turn, the file axis (0, 1 or 2) it came from.
    flips: for Z, Y, X in turn, whether that axis was reversed.
    header: what the format needs to write the same grid again (form codes, units, directions...).
    """

    affine: Affine
    shape: tuple[int, int, int]
    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]
    header: dict[str, Any] = field(default_factory=dict)

    def to_zyx(self, array: np.ndarray) -> np.ndarray:
        """View of a file-order array as (Z, Y, X)."""
        turned = array.transpose(self.axes)
        return turned[tuple(slice(None, None, -1 if f else None) for f in self.flips)]

    def to_native(self, array: np.ndarray) -> np.ndarray:
        """View of a (Z, Y, X) array in file order; the inverse of `to_zyx`."""
        unflipped = array[tuple(slice(None, None, -1 if f else None) for f in self.flips)]
        return unflipped.transpose(tuple(int(n) for n in np.argsort(self.axes)))

    def zyx_affine(self) -> Affine:
        """(4, 4) index (z, y, x) to RAS mm."""
        turn = np.zeros((4, 4))
        turn[3, 3] = 1.0
        for axis, (source, flip) in enumerate(zip(self.axes, self.flips, strict=True)):
            turn[source, axis] = -1.0 if flip else 1.0
            turn[source, 3] = self.shape[source] - 1 if flip else 0.0
        return np.asarray(self.affine, np.float64) @ turn


@dataclass(frozen=True, eq=False)
class Volume:
    """A 3D array with its place in the patient.

    data: (Z, Y, X); Z is the acquisition's slice axis. Intensities as stored after the file's own rescaling
        (HU for CT), or integer labels.
    affine: (4, 4) float64, index (z, y, x) to RAS millimetres (x right, y anterior, z superior).
    modality: "CT", "MR" or "auto" (decided from the intensities when needed).
    labels: names and colours when `data` is a label map.
    native: the file's own grid, for a lossless way back; None for an array made here.
    source: the file or folder it was read from.
    notes: what the reader had to assume or repair, as sentences for the user.

    Raises GeometryError when the array is not 3D or the affine is not an invertible (4, 4).
    """

    data: np.ndarray
    affine: Affine
    modality: Modality = "auto"
    labels: tuple[Label, ...] = ()
    native: NativeGrid | None = None
    source: Path | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "affine", np.asarray(self.affine, np.float64))
        if self.data.ndim != 3:
            raise GeometryError(f"a volume needs 3 axes (Z, Y, X); got an array of shape {self.data.shape}")
        if self.affine.shape != (4, 4) or not np.isfinite(self.affine).all():
            raise GeometryError("the affine must be a finite (4, 4) matrix")
        if abs(np.linalg.det(self.affine[:3, :3])) < 1e-12:
            raise GeometryError("the affine is singular: two voxel axes point in the same direction")

    @property
    def shape(self) -> tuple[int, int, int]:
        """(Z, Y, X) in voxels."""
        z, y, x = self.data.shape
        return z, y, x

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighbouring voxel centres along Z, Y, X, in mm."""
        z, y, x = (float(n) for n in np.linalg.norm(self.affine[:3, :3], axis=0))
        return z, y, x

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in millilitres (also right for sheared grids)."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000.0

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over shape, dtype, voxels and affine: two volumes with equal hash are the same scan."""
        h = hashlib.sha256(f"{self.data.shape}{self.data.dtype.str}".encode())
        h.update(np.ascontiguousarray(self.data).data)
        h.update(np.ascontiguousarray(self.affine).data)
        return h.hexdigest()

    def like(self, data: np.ndarray, labels: tuple[Label, ...] = ()) -> Volume:
        """Another array (mask, probability) on this volume's grid.

        Raises GeometryError when the shape differs.
        """
        if data.shape != self.data.shape:
            raise GeometryError(f"array of shape {data.shape} does not fit the scan's grid {self.data.shape}")
        return dataclasses.replace(self, data=data, labels=labels, notes=())
