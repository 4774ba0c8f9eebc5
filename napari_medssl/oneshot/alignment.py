"""Which height of one scan is which height of another, from the look of whole slices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

_POOL = 6  # slices are summarised on this many cells a side: coarse enough for different patients
_SCALES = np.linspace(0.9, 1.12, 5)  # adults' organs lie within this of each other
_STEP_MM = 2.0
_LEAST_OVERLAP = 0.4


@dataclass(frozen=True)
class HeightMap:
    """Linear map of slice positions: query_mm = scale * support_mm + shift_mm, both measured from slice 0.

    similarity: mean cosine similarity of the slices it brings together, times the root of their extent over that of
        the shorter scan, because a long overlap that agrees is worth more than a short one; -2 when no map overlapped
        enough. In [-1, 1] but for the stretch of the scale (about 6 % more).
    """

    scale: float
    shift_mm: float
    similarity: float

    def __call__(self, support_mm: float) -> float:
        return self.scale * support_mm + self.shift_mm


def slice_summaries(features: Tensor) -> Tensor:
    """(Z, D, h, w) features to (Z, D * 36) unit vectors that say what a slice looks like, centred over the scan."""
    # Slice by slice: three times as fast as all at once, and without float32 copies of all features.
    pooled = torch.cat([_pooled(one.float()) for one in torch.split(features, 1)])
    return F.normalize(pooled - pooled.mean(0), dim=1)


def _pooled(features: Tensor) -> Tensor:
    # Cells first get the same weight: a few strong ones would otherwise speak for the whole slice.
    centred = features - features.mean(1, keepdim=True)
    return F.adaptive_avg_pool2d(F.normalize(centred, dim=1), _POOL).flatten(1)


def align_heights(support: Tensor, query: Tensor, support_mm: float, query_mm: float) -> HeightMap:
    """The height map under which slices look most alike.

    support, query: summaries (Z, E) from `slice_summaries`. support_mm, query_mm: slice distances.
    Searches all scales and shifts (whole grid, 2 mm) that overlap by at least 40 % of the shorter scan.
    """
    similarity = (query @ support.T).cpu().numpy()  # (Zq, Zs)
    zq, zs = similarity.shape
    shortest = min(zq * query_mm, zs * support_mm)
    best = HeightMap(1.0, 0.0, -2.0)
    heights = np.arange(zs) * support_mm
    for scale in _SCALES:
        for shift in np.arange(-scale * zs * support_mm, zq * query_mm, _STEP_MM):
            rows = (scale * heights + shift) / query_mm
            valid = (rows >= 0) & (rows <= zq - 1)
            if valid.sum() * support_mm < _LEAST_OVERLAP * shortest or valid.sum() < 2:
                continue
            low = np.floor(rows[valid]).astype(int)
            high = np.minimum(low + 1, zq - 1)
            part = rows[valid] - low
            columns = np.flatnonzero(valid)
            found = (1 - part) * similarity[low, columns] + part * similarity[high, columns]
            score = float(found.mean()) * float(np.sqrt(valid.sum() * support_mm / shortest))
            if score > best.similarity:
                best = HeightMap(float(scale), float(shift), score)
    return best
