"""Where the edge of a mask lies in an average of opinions."""

from __future__ import annotations

import numpy as np

_EDGE = 0.375  # what the averaged opinions must reach; 0.3 to 0.4 were best on four held-out sets


def widen(found: np.ndarray) -> None:
    """Lay the edge at 0.5 where it was at `_EDGE`, in place: the odds of all voxels of a (Z, Y, X) map rise alike.

    Opinions that disagree are averaged, and what one of them alone has is lost. Dice is largest where a voxel is taken
    from half of the Dice that can be reached, not from 0.5 (Lipton et al. 2014, arXiv 1402.1892, for F1).
    """
    for z in np.flatnonzero(found.any((1, 2))):
        inside = (1 - _EDGE) * found[z].astype(np.float32)
        found[z] = inside / (inside + _EDGE * (1 - found[z]))
