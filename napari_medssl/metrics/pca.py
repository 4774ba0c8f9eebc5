"""Principal components for plots, with signs that do not flip from run to run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class Components:
    """Principal axes of a set of vectors.

    mean: (D,). axes: (K, D) orthonormal rows, each with its largest entry positive. shares: (K,) of the variance.
    """

    mean: FloatArray
    axes: FloatArray
    shares: FloatArray

    def project(self, vectors: FloatArray) -> FloatArray:
        """(N, K) coordinates of (N, D) vectors."""
        return np.asarray((vectors - self.mean) @ self.axes.T)


def principal_components(vectors: FloatArray, count: int = 2) -> Components:
    """The `count` directions of largest variance of (N, D) vectors; fewer when N or D is smaller.

    An axis has no natural sign: its entry of largest magnitude (the first of equal ones) is made positive, so that
    two machines draw the same picture.
    """
    x = np.asarray(vectors, np.float64)
    mean = x.mean(0)
    _, values, axes = np.linalg.svd(x - mean, full_matrices=False)
    axes, variance = axes[:count], values**2
    largest = axes[np.arange(len(axes)), np.abs(axes).argmax(1)]
    axes = axes * np.where(largest < 0, -1.0, 1.0)[:, None]
    return Components(mean, axes, variance[: len(axes)] / max(variance.sum(), np.finfo(float).tiny))
