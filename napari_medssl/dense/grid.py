"""A grid of feature vectors and where it lies in the patient."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_medssl.errors import GeometryError
from napari_medssl.geometry import spacing_of
from napari_medssl.volume import Affine, Volume


@dataclass(frozen=True, eq=False)
class FeatureGrid:
    """Feature vectors of cells that fill the field of view of one scan.

    data: (C, Z, Y, X) float16 or float32: an array, a memory map, or a chunked array on disk that slices like one.
    affine: (4, 4) float64, cell index (z, y, x) to the RAS millimetres of the cell's centre.
    source: the scan, as `grid_source` describes it.
    encoder: what made the features: "name", "weights_sha256", "stages", "spacing_mm", "precision" and more. Grids whose
        `space` is equal can be compared vector by vector.

    Raises GeometryError when the array is not (C, Z, Y, X) or the affine is not an invertible (4, 4).
    """

    data: Any
    affine: Affine
    source: dict[str, Any] = field(default_factory=dict)
    encoder: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "affine", np.asarray(self.affine, np.float64))
        if len(self.data.shape) != 4 or 0 in self.data.shape:
            raise GeometryError(f"a feature grid needs 4 axes (C, Z, Y, X), none empty; got {tuple(self.data.shape)}")
        if self.affine.shape != (4, 4) or not np.isfinite(self.affine).all():
            raise GeometryError("the affine of a feature grid must be a finite (4, 4) matrix")
        if abs(np.linalg.det(self.affine[:3, :3])) < 1e-12:
            raise GeometryError("the affine of a feature grid is singular: two axes point in the same direction")

    @property
    def channels(self) -> int:
        """C, the length of a feature vector."""
        return int(self.data.shape[0])

    @property
    def shape(self) -> tuple[int, int, int]:
        """(Z, Y, X) in cells."""
        _, z, y, x = (int(n) for n in self.data.shape)
        return z, y, x

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighbouring cell centres along Z, Y, X, in mm."""
        z, y, x = (float(n) for n in spacing_of(self.affine))
        return z, y, x

    @property
    def nbytes(self) -> int:
        """Size of the vectors in bytes, in memory or on disk."""
        return int(np.prod(self.data.shape)) * int(np.dtype(self.data.dtype).itemsize)

    @property
    def space(self) -> tuple[Any, ...]:
        """What two grids must share for their vectors to mean the same: encoder, weights, stages, channels."""
        e = self.encoder
        return (e.get("name"), e.get("weights_sha256"), tuple(e.get("stages", ())), self.channels)

    def vectors(self) -> npt.NDArray[np.float32]:
        """(Z * Y * X, C) float32, cells in C order; reads the whole grid into memory."""
        flat = np.asarray(self.data).reshape(self.channels, -1)
        return np.ascontiguousarray(flat.T, np.float32)

    def index_of(self, points_mm: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """(N, 3) fractional cell indices (z, y, x) of (N, 3) RAS points in mm; may lie outside the grid."""
        points = np.atleast_2d(np.asarray(points_mm, np.float64))
        inverse = np.linalg.inv(self.affine)
        return np.asarray(points @ inverse[:3, :3].T + inverse[:3, 3])

    def centres_mm(self) -> npt.NDArray[np.float64]:
        """(Z * Y * X, 3) RAS mm of the cells' centres, in the order of `vectors`."""
        index = np.indices(self.shape).reshape(3, -1).T
        return np.asarray(index @ self.affine[:3, :3].T + self.affine[:3, 3])

    def at(self, points_mm: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """(N, C) float32 feature vectors at (N, 3) RAS points in mm, trilinear; beyond the grid the border's.

        Reads only the box of cells around the points.
        """
        index = self.index_of(points_mm)
        top = np.array(self.shape) - 1
        index = np.clip(index, 0, top)
        low = np.floor(index.min(0)).astype(int)
        high = np.minimum(np.ceil(index.max(0)).astype(int) + 1, top + 1)
        box = np.asarray(self.data[:, low[0] : high[0], low[1] : high[1], low[2] : high[2]], np.float32)
        where = (index - low).T
        return np.stack([ndimage.map_coordinates(c, where, order=1, mode="nearest") for c in box], 1)


def grid_source(volume: Volume) -> dict[str, Any]:
    """What a grid remembers of its scan, as plain JSON values: content hash, shape, spacing, affine, file name."""
    return {
        "sha256": volume.content_hash,
        "shape": list(volume.shape),
        "spacing_mm": list(volume.spacing_mm),
        "affine": np.asarray(volume.affine).tolist(),
        "file": volume.source.name if volume.source else "",
        "modality": volume.modality,
    }
