"""Logistic regression on slices: a line per class, and more of them from other draws of the marks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_medssl.classify.slices.marks import FloatArray, Kind
from napari_medssl.evaluate.probe import fit_logistic


@dataclass(frozen=True, eq=False)
class LinearScorer:
    """weight: (M, C, P), bias: (M, C); the first of the M is the head itself, the others its ensemble."""

    weight: FloatArray
    bias: FloatArray

    def logits(self, points: FloatArray) -> FloatArray:
        """(M, Z, C) of (Z, P)."""
        return np.asarray(np.einsum("zp,mcp->mzc", points, self.weight) + self.bias[:, None], np.float32)

    def arrays(self) -> dict[str, FloatArray]:
        """What was learned."""
        return {"weight": self.weight, "bias": self.bias}

    @staticmethod
    def from_arrays(arrays: Mapping[str, FloatArray]) -> LinearScorer:
        """The scorer that `arrays` came from."""
        return LinearScorer(arrays["weight"], arrays["bias"])


def learn_linear(
    points: FloatArray, targets: FloatArray, kind: Kind, *, draws: npt.NDArray[np.intp], inverse_penalty: float
) -> LinearScorer:
    """One fit per row of `draws`.

    points: (N, P). targets: (N, C) 1, 0, NaN. draws: (M, N) how often each slice counts, 0 or more.

    Classes count equally, however rare, as a hundred slices without a finding should not outvote the one with it. The
    points are turned into the space they span first, in which L2-penalised fits are the same and ten slices have ten
    numbers instead of hundreds.
    """
    left, size, right = np.linalg.svd(points.astype(np.float64), full_matrices=False)
    turned = left * size
    fits = [_fit(turned, targets, kind, counts, inverse_penalty) for counts in draws]
    weight = np.stack([w for w, _ in fits]) @ right
    return LinearScorer(weight.astype(np.float32), np.stack([b for _, b in fits]).astype(np.float32))


def _fit(
    x: npt.NDArray[np.float64], targets: FloatArray, kind: Kind, counts: npt.NDArray[np.intp], inverse_penalty: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    classes = targets.shape[1]
    weight, bias = np.zeros((classes, x.shape[1])), np.zeros(classes)
    if kind == "one":
        used = (counts > 0) & (targets == 1).any(1)
        y = targets[used].argmax(1)
        there, w, b = fit_logistic(x[used], y, inverse_penalty=inverse_penalty, balanced=True, counts=counts[used])
        weight[there], bias[there] = w, b
        return weight, bias
    for c in range(classes):
        used = (counts > 0) & ~np.isnan(targets[:, c])
        y = targets[used, c].astype(int)
        _, w, b = fit_logistic(x[used], y, inverse_penalty=inverse_penalty, balanced=True, counts=counts[used])
        weight[c], bias[c] = w[-1] - w[0], b[-1] - b[0]
    return weight, bias
