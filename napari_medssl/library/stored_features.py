"""Features kept with a library, so that its examples can be compared with a scan without encoding theirs again."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from napari_medssl.errors import FormatError


@dataclass(frozen=True, eq=False)
class StoredFeatures:
    """The look of every slice of one kept scan under one encoder; with other weights it is not used.

    weights_sha256: of the weights it was made with. summaries: float16 (Z, E), a unit vector for each slice.

    Raises FormatError when it is no such array.
    """

    weights_sha256: str
    summaries: np.ndarray

    def __post_init__(self) -> None:
        s = self.summaries
        if s.ndim != 2 or s.dtype != np.float16 or not np.isfinite(s.sum(dtype=np.float32)):
            raise FormatError("the stored features are inconsistent")

    def sha256(self) -> str:
        """Hash of everything; a stored file is checked with it."""
        h = hashlib.sha256(repr((self.weights_sha256, self.summaries.shape)).encode())
        h.update(np.ascontiguousarray(self.summaries).data)
        return h.hexdigest()
