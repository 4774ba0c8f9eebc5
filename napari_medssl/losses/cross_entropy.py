"""Pixel cross-entropy of background and foreground with a weight for each class."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

BACKGROUND_WEIGHT, FOREGROUND_WEIGHT = 0.05, 1.0
"""Class weights of the thesis (7.4.1.5): a superpixel is a small part of its slice."""


def weighted_cross_entropy(
    logits: Tensor, target: Tensor, weights: tuple[float, float] = (BACKGROUND_WEIGHT, FOREGROUND_WEIGHT)
) -> Tensor:
    """Scalar loss: (B, 2, H, W) logits of background and foreground against a (B, H, W) mask in {0, 1}.

    The mean over pixels is weighted: sum of w log p over sum of w, so the scale does not depend on the mask's size.

    Source: thesis equation 7.12. As printed it has the foreground term alone, on a mask that is already a maximum
    and carries no gradient; a weight for the background implies the sum over both classes on the softmax (B7-16).
    The weighted mean is the authors' public code.
    """
    return F.cross_entropy(logits, target.long(), weight=logits.new_tensor(weights))
