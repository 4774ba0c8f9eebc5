"""A network that judges blobs of a segmentation: part of the organ, or of something beside it.

It sees what is measured of a blob (`oneshot.blob_features`), no image, so that a few hundred rehearsed segmentations
suffice to train it. Ours; the verification that stops drift in Sli2Vol (Yeung et al. 2021) compares features instead.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from napari_medssl.registry import Registry

verifiers: Registry[Any] = Registry("verifier")

_MOMENTUM, _NOISE, _EPS = 0.002, 0.05, 1e-4


def build_verifier(name: str, **config: Any) -> nn.Module:
    """The registered network `name`, in eval mode, with untrained weights."""
    module: nn.Module = verifiers[name](**config)
    return module.eval()


class _Standardise(nn.Module):
    """Brings (N, features) to mean 0 and deviation 1 by what it has seen on average while training.

    Not by the batch, as batch normalisation does: the blobs of a batch come from a few segmentations, and are alike.
    """

    mean: Tensor
    variance: Tensor
    seen: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("variance", torch.ones(features))
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, numbers: Tensor) -> Tensor:
        if self.training:
            with torch.no_grad():
                self.seen += 1
                share = max(_MOMENTUM, 1 / float(self.seen))
                self.mean.lerp_(numbers.mean(0), share)
                self.variance.lerp_((numbers - self.mean).square().mean(0), share)
        return (numbers - self.mean) / (self.variance + _EPS).sqrt()


def _layers(features: int, hidden: int, dropout: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in (features, hidden):
        layers += [nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Linear(hidden, 1))


@verifiers.register("blob-judge")
class BlobJudge(nn.Module):
    """Small networks that vote: (..., features) to (..., members) logits that a blob belongs to the organ.

    features: numbers per blob. hidden: units of each of a network's two layers. dropout: in training. members: how many
    networks; they are trained on the same blobs and differ by their first weights and dropout. What numbers are
    standardised by is learned with the weights; in training a little noise is added to them.
    """

    def __init__(self, *, features: int = 32, hidden: int = 48, dropout: float = 0.1, members: int = 8) -> None:
        super().__init__()
        self.config: dict[str, Any] = {"features": features, "hidden": hidden, "dropout": dropout, "members": members}
        self.standardise = _Standardise(features)
        self.members = nn.ModuleList(_layers(features, hidden, dropout) for _ in range(members))

    def forward(self, numbers: Tensor) -> Tensor:
        flat = self.standardise(numbers.flatten(0, -2))
        if self.training:
            flat = flat + _NOISE * torch.randn_like(flat)
        return torch.cat([member(flat) for member in self.members], 1).view(*numbers.shape[:-1], -1)

    def judge(self, numbers: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """(N,) chance that each blob belongs to the organ, the members' mean."""
        with torch.inference_mode():
            # Some devices know no float64: it must neither go there nor be made there.
            given = torch.from_numpy(numbers.astype(np.float32)).to(next(self.parameters()).device)
            chance = torch.sigmoid(self(given)).mean(-1).cpu().numpy()
        return np.asarray(chance, np.float64)
