"""Connected pieces of a mask and their sizes."""

from __future__ import annotations

import numpy as np
from scipy import ndimage


def pieces_of(mask: np.ndarray, *, corners: bool) -> tuple[np.ndarray, np.ndarray]:
    """(piece number of each voxel, 0 outside `mask`; voxels of each piece, entry 0 being 0).

    mask: bool with any number of axes. corners: voxels that touch at an edge or corner belong together; otherwise a
    common face is needed.
    """
    structure = ndimage.generate_binary_structure(mask.ndim, mask.ndim if corners else 1)
    pieces, count = ndimage.label(mask, structure=structure)
    sizes = np.zeros(count + 1, np.int64)
    for plane in pieces:  # bincount works on copies of eight bytes per voxel
        sizes += np.bincount(plane.ravel(), minlength=count + 1)
    sizes[0] = 0
    return pieces, sizes
