"""Work that looks at one slice at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from napari_medssl.progress import Progress, Steps

_SLICES_PER_STEP = 8


def in_slices(mask: np.ndarray, work: Callable[[np.ndarray], np.ndarray], *, label: str) -> Steps[np.ndarray]:
    """(Z, Y, X) bool: `work` of each (Y, X) slice of `mask` that is not empty; the others stay empty."""
    made = np.zeros_like(mask)
    for z in range(len(mask)):
        if z % _SLICES_PER_STEP == 0:
            yield Progress(z, len(mask), label)
        if mask[z].any():
            made[z] = work(mask[z])
    return made
