"""Features kept with a library, so that its examples can be compared with a scan without encoding theirs again."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from napari_medssl.errors import FormatError


@dataclass(frozen=True, eq=False)
class StoredFeatures:
    """What comparing needs of one kept scan, under one encoder; with other weights it is not used.

    weights_sha256: of the weights they were made with.
    size: side of the encoder's input square in pixels.
    slices: with features, ascending. features: float16 (len(slices), D, h, w).
    summaries: float16 (Z, E), the look of every slice.

    Raises FormatError when the parts do not fit together.
    """

    weights_sha256: str
    size: int
    slices: tuple[int, ...]
    features: np.ndarray
    summaries: np.ndarray

    def __post_init__(self) -> None:
        f, s = self.features, self.summaries
        rising = all(a < b for a, b in zip(self.slices, self.slices[1:], strict=False))
        fits = f.ndim == 4 and len(f) == len(self.slices) and s.ndim == 2 and rising
        if not (fits and f.dtype == s.dtype == np.float16 and 1 <= self.size <= 1 << 14):
            raise FormatError("the stored features are inconsistent")
        if not (np.isfinite(f.sum(dtype=np.float32)) and np.isfinite(s.sum(dtype=np.float32))):
            raise FormatError("the stored features are not numbers")

    @property
    def nbytes(self) -> int:
        """Bytes they take."""
        return self.features.nbytes + self.summaries.nbytes

    def sha256(self) -> str:
        """Hash of everything; a stored file is checked with it."""
        h = hashlib.sha256(repr((self.weights_sha256, self.size, self.slices, self.features.shape)).encode())
        for array in (self.features, self.summaries):
            h.update(np.ascontiguousarray(array).data)
        return h.hexdigest()
