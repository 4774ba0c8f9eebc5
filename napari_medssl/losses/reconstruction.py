"""How far a restored image is from the true one, everywhere or where it was hidden."""

from __future__ import annotations

from torch import Tensor

from napari_medssl.losses.float32 import in_float32


@in_float32
def masked_mse(prediction: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean squared error, a scalar, of two tensors of one shape.

    weight: broadcast to that shape, at least 0; the mean is sum(w e) / sum(w), so that its scale does not depend on how
    much is hidden. Where it is 0 neither value nor gradient counts; 0 when it is 0 everywhere. None counts all alike.

    Source: paper 002, Eq. 9 and 10 (squared L2 as a mean); guide 001, masked image modelling (S90, B1-06).

    >>> import torch
    >>> masked_mse(torch.tensor([0.0, 3.0]), torch.tensor([0.0, 1.0]), torch.tensor([1.0, 1.0])).item()
    2.0
    """
    return _weighted_mean((prediction - target).square(), weight)


@in_float32
def masked_l1(prediction: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean absolute error, otherwise as `masked_mse`."""
    return _weighted_mean((prediction - target).abs(), weight)


def _weighted_mean(error: Tensor, weight: Tensor | None) -> Tensor:
    if weight is None:
        return error.mean()
    weight = weight.to(error.dtype).expand_as(error)
    return (weight * error).sum() / weight.sum().clamp(min=1e-12)
