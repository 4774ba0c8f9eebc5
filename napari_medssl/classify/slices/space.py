"""The space in which slices of different scans can be compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from napari_medssl.classify.slices.height import BodyHeight, learn_height
from napari_medssl.classify.slices.marks import FloatArray
from napari_medssl.classify.slices.vectors import EncoderFacts, SliceVectors

_OWN = 4.0  # ours: slices from which on a scan's own mean counts more than that of all scans
_LEAST = 1e-3  # deviation of a number that never changes, so that it is not blown up


@dataclass(frozen=True, eq=False)
class Space:
    """How vectors become points.

    mean, deviation: (P,) over all slices that were there when a head was learned, marked or not. height: the body
    height, or None where position shall not count. centred: whether slices are told by their difference from the mean
    of their scan. encoder: whose vectors these are.
    """

    mean: FloatArray
    deviation: FloatArray
    height: BodyHeight | None
    centred: bool
    encoder: EncoderFacts

    def points(self, vectors: SliceVectors) -> FloatArray:
        """(Z, P + K) points; distances between them are about 1.

        Centring takes away what differs between scanners, the less the fewer slices a scan has: one slice alone is
        compared with all scans. Mean AUC of organ presence from two labelled scans: 0.91 instead of 0.89 on CHAOS, 0.92
        instead of 0.89 on BTCV. Dividing by a scan's own deviation as well gave the same, and would make noise large in
        a scan that shows nothing.

        Raises WeightsError when the vectors come from another encoder.
        """
        self.encoder.refuse_other(vectors.encoder, what="this head")
        points = self._standardised(vectors.data)
        share = len(points) / (len(points) + _OWN) if self.centred else 0.0
        own: FloatArray = points - np.float32(share) * points.mean(0)
        if self.height is None:
            return own
        return np.concatenate([own, self.height.bumps(self._heights(points, vectors))], 1)

    def heights(self, vectors: SliceVectors) -> FloatArray | None:
        """(Z,) mm in the body; None where position shall not count."""
        return None if self.height is None else self._heights(self._standardised(vectors.data), vectors)

    def _heights(self, points: FloatArray, vectors: SliceVectors) -> FloatArray:
        assert self.height is not None  # the callers have looked
        return self.height.of(points, vectors.position_mm, vectors.appearance)

    def _standardised(self, data: FloatArray) -> FloatArray:
        return np.asarray((data - self.mean) / self.deviation / np.sqrt(data.shape[1]), np.float32)


def make_space(scans: Sequence[SliceVectors], *, height: bool, centred: bool) -> Space:
    """The space of these scans, at least one, all of one encoder. Raises WeightsError when they are not."""
    for scan in scans:
        scans[0].encoder.refuse_other(scan.encoder, what="a part of the scans")
    data = np.concatenate([scan.data for scan in scans])
    plain = Space(data.mean(0), data.std(0) + np.float32(_LEAST), None, centred, scans[0].encoder)
    if not height:
        return plain
    body = learn_height(
        [plain._standardised(s.data) for s in scans], [s.position_mm for s in scans], [s.appearance for s in scans]
    )
    return Space(plain.mean, plain.deviation, body, centred, plain.encoder)
