"""Dense features of the open scans, kept beside their layers as long as both are the same."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QObject, Signal

from napari_medssl.dense.grid import FeatureGrid
from napari_medssl.errors import MedSSLError
from napari_medssl.volume import Affine, Volume

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari.components import ViewerModel
    from napari.layers import Image

Points = npt.NDArray[np.float64]


@dataclass(eq=False)
class Features:
    """The features of one layer, and the way between the layer's world, its voxels and the patient.

    volume: the scan as it was extracted. grid: its features. body: (Z, Y, X) bool, cells of the patient. notes: what
    had to be assumed. kept: what was made from the grid and is quick to use again, such as a similarity index.
    """

    image: Image
    data: Any  # of the layer when it was extracted
    volume: Volume
    grid: FeatureGrid
    body: npt.NDArray[np.bool_]
    notes: tuple[str, ...] = ()
    kept: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of the layer, as it is called now."""
        return str(self.image.name)

    @property
    def affine(self) -> Affine:
        """(4, 4) voxel index to RAS mm."""
        return self.volume.affine

    def mm_of_world(self, positions: npt.ArrayLike) -> Points:
        """(N, 3) RAS mm of (N, >= 3) positions in the viewer's world; only the last three axes count."""
        world = np.atleast_2d(np.asarray(positions, np.float64))[:, -3:]
        return self.mm_of_index([self.image.world_to_data(p) for p in world])

    def world_of_mm(self, points_mm: npt.ArrayLike) -> Points:
        """(N, 3) positions in the viewer's world of (N, 3) RAS points."""
        index = self.index_of_mm(points_mm)
        return np.array([self.image.data_to_world(p) for p in index], np.float64).reshape(-1, 3)

    def mm_of_index(self, index: npt.ArrayLike) -> Points:
        """(N, 3) RAS mm of (N, 3) voxel indices."""
        voxels = np.asarray(index, np.float64).reshape(-1, 3)
        return np.asarray(voxels @ self.affine[:3, :3].T + self.affine[:3, 3])

    def index_of_mm(self, points_mm: npt.ArrayLike) -> Points:
        """(N, 3) fractional voxel indices of (N, 3) RAS points."""
        inverse = np.linalg.inv(self.affine)
        points = np.asarray(points_mm, np.float64).reshape(-1, 3)
        return np.asarray(points @ inverse[:3, :3].T + inverse[:3, 3])

    def holds(self, index: npt.ArrayLike) -> bool:
        """Whether a voxel index lies in the scan."""
        at = np.asarray(index, np.float64)
        return bool(((at >= -0.5) & (at < np.array(self.volume.shape) - 0.5)).all())

    def provenance(self, **more: Any) -> dict[str, Any]:
        """Where an overlay comes from, as plain JSON values."""
        return {"source": dict(self.grid.source), "encoder": dict(self.grid.encoder), **more}


class FeatureStore(QObject):
    """Features by layer. Signal `changed` when some are added or dropped."""

    changed = Signal()

    def __init__(self, viewer: ViewerModel, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._found: dict[Any, Features] = {}

    def add(self, features: Features) -> None:
        """Keep the features of a layer instead of older ones."""
        self._found[features.image.unique_id] = features
        self.changed.emit()

    def drop(self, image: Any) -> None:
        """Forget those of a layer."""
        if self._found.pop(image.unique_id, None) is not None:
            self.changed.emit()

    def of(self, image: Image | None) -> Features | None:
        """Those of a layer; None when there are none, or its voxels were replaced since."""
        found = self._found.get(image.unique_id) if image is not None else None
        return found if found is not None and found.data is found.image.data else None

    def all(self) -> Iterator[Features]:
        """Of all open scans, in the order of the layers."""
        for layer in self._viewer.layers:
            found = self._found.get(layer.unique_id)
            if found is not None and found.data is found.image.data:
                yield found

    def alike(self, features: Features) -> list[Features]:
        """Other open scans whose vectors can be compared with these."""
        return [f for f in self.all() if f.image is not features.image and f.grid.space == features.grid.space]

    def needed(self, image: Image | None) -> Features:
        """Those of a layer. Raises MedSSLError with what to do when there are none."""
        if image is None:
            raise MedSSLError("no scan is open; open a CT or MR (File > Open, or drop it on the window) and choose it")
        found = self.of(image)
        if found is None:
            raise MedSSLError(f"'{image.name}' has no features yet; press Extract 3D features first")
        return found
