"""Regions without crumbs: pieces too small to matter join what surrounds them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_medssl.dense.grid import FeatureGrid

Labels = npt.NDArray[np.int32]


def join_small(labels: Labels, grid: FeatureGrid, min_mm3: float) -> Labels:
    """The labels with each connected piece under `min_mm3` given to the label of the nearest cell of a large piece.

    Pieces are connected through faces; nearest is meant in mm; cells of label 0 neither give nor take. When no piece is
    large enough, the labels stay as they are.
    """
    pieces, owner = _pieces(labels)
    cell_mm3 = abs(float(np.linalg.det(grid.affine[:3, :3])))
    sizes = np.bincount(pieces.ravel(), minlength=len(owner)) * cell_mm3
    large = (sizes >= min_mm3 * (1 - 1e-9)) & (owner > 0)
    if not large.any() or large[1:].all():
        return labels
    kept = large[pieces]
    nearest = ndimage.distance_transform_edt(
        ~kept, sampling=grid.spacing_mm, return_distances=False, return_indices=True
    )
    return np.where(labels > 0, labels[tuple(nearest)], 0).astype(np.int32)


def _pieces(labels: Labels) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Connected pieces numbered from 1 (0 where the label is 0), and the label of each number."""
    pieces = np.zeros(labels.shape, np.int32)
    owner = [0]
    boxes = ndimage.find_objects(labels)
    for value, box in enumerate(boxes, 1):
        if box is None:
            continue
        found, count = ndimage.label(labels[box] == value)
        pieces[box] = np.where(found > 0, found + len(owner) - 1, pieces[box])
        owner += [value] * count
    return pieces, np.array(owner, np.int32)
