"""The nearest marked slices vote: nothing is trained, every score can be traced to slices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from napari_medssl.classify.slices.marks import FloatArray
from napari_medssl.metrics.knn import exponential_cosine, knn_votes

TEMPERATURE = 0.2  # of exp(cosine / temperature); 0.1 makes one neighbour of five
_DOUBT = 0.5  # ours: votes for and against that everything has before anybody votes (Krichevsky and Trofimov, 1981)


@dataclass(frozen=True, eq=False)
class NeighbourScorer:
    """bank: (N, P) points of the marked slices. targets: (N, C) 1, 0, NaN. draws: (M, N) how often each counts.

    k: (1,) neighbours that vote.
    """

    bank: FloatArray
    targets: FloatArray
    draws: FloatArray
    k: FloatArray

    def logits(self, points: FloatArray) -> FloatArray:
        """(M, Z, C) log-odds of the votes for (Z, P) points."""
        queries, k = torch.from_numpy(np.ascontiguousarray(points)), int(self.k[0])
        return np.stack([self._votes(queries, counts.astype(np.intp), k) for counts in self.draws])

    def arrays(self) -> dict[str, FloatArray]:
        """What was learned."""
        return {"bank": self.bank, "targets": self.targets, "draws": self.draws, "k": self.k}

    @staticmethod
    def from_arrays(arrays: Mapping[str, FloatArray]) -> NeighbourScorer:
        """The scorer that `arrays` came from."""
        return NeighbourScorer(arrays["bank"], arrays["targets"], arrays["draws"], arrays["k"])

    def _votes(self, queries: torch.Tensor, counts: npt.NDArray[np.intp], k: int) -> FloatArray:
        columns = []
        for c in range(self.targets.shape[1]):
            used = np.repeat(np.arange(len(counts)), np.where(np.isnan(self.targets[:, c]), 0, counts))
            share = np.full(len(queries), 0.5, np.float32)
            if len(used):
                bank, said = torch.from_numpy(self.bank[used]), torch.from_numpy(_balanced(self.targets[used, c]))
                votes = knn_votes(queries, bank, said, ks=(k,), weighting=exponential_cosine(TEMPERATURE))[k].numpy()
                share = (votes[:, 0] + _DOUBT / k) / (votes.sum(1) + 2 * _DOUBT / k)
            columns.append(np.log(share / (1 - share)))
        return np.stack(columns, 1).astype(np.float32)


def learn_neighbours(
    points: FloatArray, targets: FloatArray, *, draws: npt.NDArray[np.intp], neighbours: int
) -> NeighbourScorer:
    """The marked slices kept as they are; arguments as of `learn_linear`."""
    k = np.array([min(neighbours, len(points))], np.float32)
    return NeighbourScorer(points.astype(np.float32), targets, draws.astype(np.float32), k)


def _balanced(target: FloatArray) -> FloatArray:
    """(n, 2) votes for and against that a slice has; the two sides have as many in all."""
    yes = target == 1
    weights = [len(yes) / (2 * side.sum()) * side if side.any() else 0.0 * side for side in (yes, ~yes)]
    return np.stack(weights, 1).astype(np.float32)
