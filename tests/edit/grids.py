"""Label maps whose millimetres are known."""

from __future__ import annotations

import numpy as np

from napari_medssl.labels import default_label
from napari_medssl.volume import Volume

THICK = (4.0, 1.0, 1.5)  # mm along Z, Y, X: slices thicker than pixels, pixels not square


def label_map(data: np.ndarray, spacing_mm: tuple[float, float, float] = THICK) -> Volume:
    """A label map in voxels of this size, with an entry for every organ."""
    organs = tuple(default_label(int(v)) for v in np.unique(data) if v)
    return Volume(data.astype(np.uint8), np.diag([*spacing_mm, 1.0]), labels=organs)


def radius_mm(shape: tuple[int, int, int], spacing_mm: tuple[float, float, float] = THICK) -> np.ndarray:
    """(Z, Y, X) distance in mm of each voxel from the middle voxel."""
    grids = np.meshgrid(*[(np.arange(n) - n // 2) * s for n, s in zip(shape, spacing_mm, strict=True)], indexing="ij")
    return np.sqrt(sum(g**2 for g in grids))


def boxed(shape: tuple[int, int, int], *sides: tuple[int, int]) -> np.ndarray:
    """(Z, Y, X) bool, true from low to high - 1 along each axis."""
    mask = np.zeros(shape, bool)
    mask[tuple(slice(*side) for side in sides)] = True
    return mask
