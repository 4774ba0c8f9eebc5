"""The slices an organ lies on, from its scores: what a segmentation may be limited to."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

MARGIN_MM = 8.0  # about one thick MR slice; see the measurement in docs/classification.md


def slice_range_from_scores(
    probability: npt.NDArray[np.floating],
    *,
    threshold: float = 0.5,
    margin_mm: float = MARGIN_MM,
    slice_mm: float = 1.0,
) -> tuple[int, int] | None:
    """Half-open range of the slices on which an organ lies, for `Engine.segment(slice_range=)`; None when on none.

    probability: (Z,) of one class; NaN counts as absent. threshold: from which on a slice speaks for the organ.
    margin_mm: added at both ends, as cutting off an organ's end costs more than looking too far. slice_mm: distance of
        slices.

    An organ is one piece, so the range is the run with the largest sum of (probability - threshold), the maximum
    subarray (Bentley, 1984): a dip within the organ does not cut it, a far single slice does not lengthen it. Ours.

    >>> slice_range_from_scores(np.array([0.1, 0.7, 0.9, 0.4, 0.9, 0.1, 0.1, 0.6]), margin_mm=0)
    (1, 5)
    """
    gain = np.nan_to_num(np.asarray(probability, np.float64), nan=0.0) - threshold
    if not len(gain) or gain.max() < 0:
        return None
    before = np.concatenate([[0.0], np.cumsum(gain)])
    lowest = np.minimum.accumulate(before)[:-1]
    end = int((before[1:] - lowest).argmax()) + 1
    start = int(before[:end].argmin())
    margin = int(np.ceil(margin_mm / slice_mm)) if margin_mm > 0 else 0
    return max(0, start - margin), min(len(gain), end + margin)
