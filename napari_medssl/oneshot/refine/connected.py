"""Keep what hangs together with the labelled slices, or the largest piece."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from napari_medssl.oneshot.refine.step import RefineContext, refiners

_KEEP_SHARE = 0.2  # of the largest piece: an organ may rightly lie in pieces (vessels between slices)


@refiners.register("connected")
def connected(probability: np.ndarray, context: RefineContext) -> np.ndarray:
    """Set to 0 every piece (26-connected, p >= 0.5) that touches no labelled slice and is small.

    With labelled slices, pieces that overlap their masks stay; otherwise the largest piece by summed probability.
    Pieces of at least a fifth of the largest stay too. Nothing above 0.5: the map is returned unchanged.
    """
    organ = probability >= 0.5
    box = (ndimage.find_objects(organ.view(np.int8)) or [None])[0]
    if box is None:
        return probability
    near = probability[box]
    pieces, count = ndimage.label(organ[box], structure=np.ones((3, 3, 3)))
    if count == 1:
        return probability
    mass = np.zeros(count + 1)
    for piece, values in zip(pieces, near, strict=True):  # bincount works on copies of eight bytes per voxel
        mass += np.bincount(piece.ravel(), weights=values.ravel(), minlength=count + 1)
    mass[0] = 0
    keep = mass >= _KEEP_SHARE * mass.max()
    for z, mask in context.anchors.items():
        if box[0].start <= z < box[0].stop:
            keep[np.unique(pieces[z - box[0].start][np.asarray(mask)[box[1:]] > 0.5])] = True
    keep[0] = True
    for piece, values in zip(pieces, near, strict=True):
        values[~keep[piece]] = 0
    return probability
