"""Slices of a match that are another organ are found by carrying the surest slices to each other.

Features of two organs that look alike, such as spleen and left kidney, are alike, too, and a match may be one on some
slices and the other on others. Carried through the scan, a slice of an organ arrives at the organ's other slices, and
at none of the other organ. The way back of `oneshot.way_back`, where no slice is known to be right. Ours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from napari_medssl.oneshot.propagation import Anchors
from napari_medssl.oneshot.way_back import arrived
from napari_medssl.progress import Progress, Steps, reporting

Carry = Callable[[Anchors], Steps[dict[int, np.ndarray]]]
"""Masks on slices to (Z, Y, X) probabilities on all slices they were carried to."""

# Of the smaller of two slices' masks, how much must arrive. At 0.5 tips of livers were lost (CHAOS, whole scans: 0.790,
# with 0.35 0.793).
_ARRIVED = 0.35


def take_out_outlier_steps(found: np.ndarray, seeds: Sequence[int], carry: Carry) -> Steps[bool]:
    """Take out of a match what one of three sure slices stands for, if the two others agree and it with none of them.

    found: (Z, Y, X) probability, changed in place: multiplied by what the outlier's way leaves, where that is likely,
    on all slices but the two others. seeds: sure slices of it; with fewer than three nothing can be told.

    Returns whether anything was taken out.
    """
    if len(seeds) < 3:
        return False
    masks = {z: found[z] >= 0.5 for z in seeds}
    ways = yield from reporting(
        carry({z: {z: mask} for z, mask in masks.items()}),
        lambda p: Progress(p.done, p.total, "carrying sure slices to each other"),
    )
    outlier = _outlier(seeds, lambda a, b: arrived(ways[a][b], masks[a], masks[b]) >= _ARRIVED)
    if outlier is None:
        return False
    others = set(seeds) - {outlier}
    for z in set(range(len(found))) - others:
        likely = ways[outlier][z] >= 0.5
        found[z][likely] *= 1 - ways[outlier][z][likely].astype(np.float32)
    return True


def _outlier(seeds: Sequence[int], reaches: Callable[[int, int], bool]) -> int | None:
    """The one of three that is in no pair while the others are one."""
    pairs = [{a, b} for a in seeds for b in seeds if a < b and (reaches(a, b) or reaches(b, a))]
    return next(iter(set(seeds) - pairs[0])) if len(pairs) == 1 else None
