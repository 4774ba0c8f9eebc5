"""Several yes-or-no questions at once."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from napari_medssl.losses.float32 import in_float32


@in_float32
def multi_label_cross_entropy(logits: Tensor, labels: Tensor, *, positive_weight: Tensor | None = None) -> Tensor:
    """Scalar: mean of -w y ln p - (1 - y) ln(1 - p) over (B, N) logits, p their sigmoid, and labels y of 0 or 1.

    positive_weight: (N,) w; 1 when None. With negatives / positives of each label both sides weigh the same, which is
    what the thesis' "weighted" loss is taken to mean (3.5.2.2; B3-32).

    Source: paper 002, Eq. 5 and 7. As printed they lack the second term, and answering "yes" always would be best
    (B2-02). They sum over the N questions; the mean keeps weights comparable whatever N is (ours).
    """
    return F.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype), pos_weight=positive_weight)
