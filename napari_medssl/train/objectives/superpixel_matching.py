"""The objective of CoWPro: prototypes of a superpixel find it in the changed slice, and back."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from napari_medssl.losses.float32 import in_float32
from napari_medssl.oneshot.episodes import Episode, EpisodeSettings, episode_loss
from napari_medssl.pretext.task import Example
from napari_medssl.train.objective import Objective


class SuperpixelMatching(Objective):
    """Mean of the episodes' losses (thesis equations 7.12 to 7.14), with its two parts and the query's Dice.

    Supports and queries go through the encoder in one call: normalisation sees both sides at once.
    freeze_norm: statistics of batch normalisation stay as they are.
    """

    def __init__(self, encoder: nn.Module, settings: EpisodeSettings, *, freeze_norm: bool = False) -> None:
        super().__init__()
        self.encoder: Any = encoder
        self._settings, self._freeze_norm = settings, freeze_norm

    def train(self, mode: bool = True) -> SuperpixelMatching:
        """As for every module, but for frozen normalisation layers."""
        super().train(mode)
        for module in self.encoder.modules():
            if self._freeze_norm and isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self

    def forward(self, batch: Example) -> dict[str, Tensor]:
        features = self.encoder(torch.cat((batch["support"], batch["query"])))
        names = ("support", "support_mask", "query", "query_mask")
        episodes = [Episode(*parts) for parts in zip(*(batch[n] for n in names), strict=True)]
        return _episode_losses(features, episodes, self._settings, self.encoder.stride)


@in_float32
def _episode_losses(
    features: Tensor, episodes: list[Episode], settings: EpisodeSettings, stride: int
) -> dict[str, Tensor]:
    """features: (2 B, D, h, w), the supports' and then the queries'."""
    supports, queries = features.chunk(2)
    found = [
        episode_loss(s, q, e, settings, stride=stride) for s, q, e in zip(supports, queries, episodes, strict=True)
    ]
    return {
        "loss": torch.stack([x.total for x in found]).mean(),
        "ssl": torch.stack([x.ssl.detach() for x in found]).mean(),
        "cyclic": torch.stack([x.cyclic.detach() for x in found]).mean(),
        "dice": features.new_tensor([x.dice for x in found]).mean(),
    }
