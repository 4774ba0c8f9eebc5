"""From labelled slices of one scan to an organ in another: match, place along the body, keep what is plausible."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from napari_medssl.models.features import FeatureStack
from napari_medssl.models.slices import mask_to_frame
from napari_medssl.oneshot.alignment import align_heights, slice_summaries
from napari_medssl.oneshot.matching import cell_cover, cell_prototypes, match_logits
from napari_medssl.oneshot.support import Support

_REACH = 0.25  # of the organ's extent: how far along it a labelled slice is trusted (Gaussian)
_MARGIN = 0.25  # of the organ's expected extent, searched beyond its ends
_CHUNK = 16


@dataclass(frozen=True)
class OrganRange:
    """Slices of the query that may hold the organ, half-open, and how they were found.

    origin: "given" by the caller, "recognised" by the weights, "height" from aligning the two scans, "all" when nothing
    of that was possible.
    """

    low: int
    high: int
    origin: str


@dataclass(frozen=True)
class Labelled:
    """Labelled slices of one organ in one other scan: slice numbers, ascending, and their prototypes' inputs."""

    slices: tuple[int, ...]
    features: Tensor  # (N, D, h, w)
    cover: Tensor  # (N, h, w)


def labelled_slices(support: Support, stack: FeatureStack, organ: int) -> Labelled | None:
    """The labelled slices of `organ`, or None when this support does not hold it."""
    mask = support.mask == organ
    slices = tuple(int(z) for z in np.flatnonzero(mask.any(axis=(1, 2))))
    if not slices:
        return None
    framed = mask_to_frame(mask[list(slices)], stack.frame)
    grid = (stack.data.shape[-2], stack.data.shape[-1])
    return Labelled(slices, stack.data[list(slices)].float(), cell_cover(framed, grid))


def organ_range(
    labelled: Labelled,
    support_features: Tensor,
    query_features: Tensor,
    support_mm: float,
    query_mm: float,
) -> OrganRange:
    """Where the organ should lie in the query, from aligning the heights of the two scans.

    The labelled slices are taken as the middles of equal parts of the organ (the published three-slice scheme), a
    single slice as its middle with an unknown extent, for which the whole scan is searched.
    """
    depth = len(query_features)
    if len(labelled.slices) < 2 or len(support_features) < 4 or depth < 4:
        return OrganRange(0, depth, "all")
    height = align_heights(slice_summaries(support_features), slice_summaries(query_features), support_mm, query_mm)
    ends = _organ_ends(labelled.slices)
    extent = (ends[1] - ends[0]) * (1 + 2 * _MARGIN)
    middle = (ends[0] + ends[1]) / 2
    low, high = (height((middle + side * extent / 2) * support_mm) / query_mm for side in (-1, 1))
    low_z, high_z = max(0, int(np.floor(low))), min(depth, int(np.ceil(high)) + 1)
    return OrganRange(low_z, high_z, "height") if high_z - low_z >= 2 else OrganRange(0, depth, "all")


class OrganMatch:
    """Where slices of a query look like the labelled slices of one example.

    labelled: these. query: (Z, D, h, w) features. What a slice looks like is asked once, wherever the organ is then
    thought to lie.
    """

    def __init__(self, labelled: Labelled, query: Tensor) -> None:
        self._slices, self._query = labelled.slices, query
        self._prototypes = [cell_prototypes(f, c) for f, c in zip(labelled.features, labelled.cover, strict=True)]
        self._found: dict[int, Tensor] = {}  # slice of the query to (N, h, w)

    def logits(self, span: OrganRange) -> Tensor:
        """Foreground logits (Z, h, w) of the organ on every query slice; strongly negative outside `span`.

        Each labelled slice speaks for query slices at the same share of the organ's extent, with Gaussian weights
        instead of the published hard thirds: neighbouring parts help each other.
        """
        z, _, h, w = self._query.shape
        logits = torch.full((z, h, w), -20.0)
        for start in range(span.low, span.high, _CHUNK):
            rows = list(range(start, min(start + _CHUNK, span.high)))
            found = self._scores(rows)
            weights = torch.from_numpy(_weights(rows, span, self._slices)).to(found)
            logits[rows] = (found * weights[:, :, None, None]).sum(1).cpu()
        return logits

    def _scores(self, rows: Sequence[int]) -> Tensor:
        """(B, N, h, w) of slices of the query by every labelled slice."""
        new = [z for z in rows if z not in self._found]
        if new:
            features = self._query[new].float()
            scores = torch.stack([match_logits(p, features) for p in self._prototypes], 1)
            self._found.update(zip(new, scores, strict=True))
        return torch.stack([self._found[z] for z in rows])


def _weights(rows: Sequence[int], span: OrganRange, slices: tuple[int, ...]) -> np.ndarray:
    """(B, N) weights of the labelled slices for query slices, each row summing to 1."""
    n = len(slices)
    if span.origin == "all":
        return np.full((len(rows), n), 1 / n, np.float32)
    margin = _MARGIN / (1 + 2 * _MARGIN) if span.origin == "height" else 0.0
    share = (np.array(rows) - span.low) / max(1, span.high - span.low - 1)
    share = (share - margin) / (1 - 2 * margin)
    low, high = _organ_ends(slices)
    at = (np.array(slices) - low) / (high - low)
    weight = np.exp(-(((share[:, None] - at[None]) / _REACH) ** 2)) + 1e-6
    return np.asarray(weight / weight.sum(1, keepdims=True), np.float32)


def _organ_ends(slices: tuple[int, ...]) -> tuple[float, float]:
    # n labelled slices are the middles of n equal parts: each reaches half a part beyond the outermost.
    if len(slices) == 1:
        return slices[0] - 0.5, slices[0] + 0.5
    half = (slices[-1] - slices[0]) / (len(slices) - 1) / 2
    return slices[0] - half, slices[-1] + half
