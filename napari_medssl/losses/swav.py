"""SwAV: predict the cluster of one view from the other, with clusters of equal size."""

from __future__ import annotations

import torch
from torch import Tensor

from napari_medssl.losses.float32 import in_float32


@in_float32
@torch.no_grad()
def sinkhorn(scores: Tensor, *, sharpness: float = 0.05, rounds: int = 3) -> Tensor:
    """(B, K) soft assignments of a batch to prototypes: every row sums to 1, every column nearly to B / K.

    scores: (B, K) similarities. sharpness: weight of the entropy (epsilon). rounds: of normalising the columns, then
    the rows; the last one leaves the rows exact and the columns off by what is left of their error.

    Source: Caron et al., "Unsupervised Learning of Visual Features by Contrasting Cluster Assignments" (2020), Eqs. 3
    to 5, with epsilon 0.05 and three rounds; kept soft (their section 3.1). Cuturi (2013) for the algorithm. Computed
    with logarithms, so that an unlikely prototype is not divided by 0.
    """
    b, k = scores.shape
    plan = scores / sharpness
    for _ in range(rounds):
        plan = plan - plan.logsumexp(0, keepdim=True)  # each prototype gets the same share
        plan = plan - plan.logsumexp(1, keepdim=True)  # each image is given away whole
    return plan.exp().view(b, k)


@in_float32
def swapped_prediction(
    scores1: Tensor, scores2: Tensor, *, temperature: float = 0.1, sharpness: float = 0.05, rounds: int = 3
) -> Tensor:
    """Scalar: mean of the cross-entropies from each view's assignments to the other view's softmax over prototypes.

    scores1, scores2: (B, K) cosines of two views with the prototypes. The assignments carry no gradient.

    Source: SwAV (2020), Eqs. 1 and 2; halved, as in the authors' code.
    """
    codes1 = sinkhorn(scores1, sharpness=sharpness, rounds=rounds)
    codes2 = sinkhorn(scores2, sharpness=sharpness, rounds=rounds)
    return (_entropy(codes1, scores2 / temperature) + _entropy(codes2, scores1 / temperature)) / 2


def _entropy(codes: Tensor, logits: Tensor) -> Tensor:
    return -(codes * logits.log_softmax(1)).sum(1).mean()
