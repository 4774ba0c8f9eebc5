"""The objective of CoWPro: prototypes of a superpixel find it in the changed slice, and back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from napari_medssl.errors import SupportError
from napari_medssl.losses.cross_entropy import weighted_cross_entropy
from napari_medssl.losses.float32 import in_float32
from napari_medssl.oneshot.cowpro import learn_prototypes, score_logits, upsample
from napari_medssl.oneshot.prototype_settings import PrototypeSettings, ThresholdMode, threshold_mode
from napari_medssl.pretext.task import Example
from napari_medssl.train.episodes.episode_source import Episode, EpisodeSettings
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


@dataclass(frozen=True, eq=False)
class EpisodeLoss:
    """total = ssl + cyclic, scalars. dice: of the query's prediction. cyclic is 0 when the prediction was empty."""

    total: Tensor
    ssl: Tensor
    cyclic: Tensor
    dice: float


def episode_loss(
    support: Tensor, query: Tensor, episode: Episode, settings: EpisodeSettings, *, stride: int = 8
) -> EpisodeLoss:
    """Loss of one episode from the encoder's features.

    support, query: (D, h, w) features of the episode's slices.

    Source: thesis equations 7.12 to 7.14. Forward: the support's mask finds the query's. Cyclic consistency: the
    query with its *predicted* mask must find the support's mask. The prediction is arg-maxed at image resolution, so
    no gradient passes through the mask, resized and pooled like any other mask, and gives local prototypes where it
    fills more than 0.95 of a cell, whatever the main threshold is; when it fills none the global prototype alone is
    left, and an empty (or full) prediction skips the term (B7-18). The cyclic cross-entropy is unweighted as
    printed (B7-17).
    """
    prototypes = settings.prototypes
    size = (episode.query_mask.shape[0], episode.query_mask.shape[1])
    weights = (settings.background_weight, settings.foreground_weight)
    mode = threshold_mode(prototypes)
    logits = _logits(support, episode.support_mask, query, prototypes, mode, stride, size)
    ssl = weighted_cross_entropy(logits, episode.query_mask[None], weights)
    predicted = logits.detach().argmax(1)[0].float()
    cyclic = ssl.new_zeros(())
    if settings.cyclic != "off" and 0 < int(predicted.sum()) < predicted.numel():
        strict = _with_threshold(prototypes, settings.cyclic_threshold)
        try:
            back = _logits(query, predicted, support, strict, "fixed", stride, size)
        except SupportError:  # all but a few pixels of the slice, and those lie between the cells: as good as full
            return EpisodeLoss(ssl, ssl, cyclic, _dice(predicted, episode.query_mask))
        pair = weights if settings.cyclic == "weighted" else (1.0, 1.0)
        cyclic = weighted_cross_entropy(back, episode.support_mask[None], pair)
    return EpisodeLoss(ssl + cyclic, ssl, cyclic, _dice(predicted, episode.query_mask))


def _logits(
    support: Tensor,
    mask: Tensor,
    query: Tensor,
    settings: PrototypeSettings,
    mode: ThresholdMode,
    stride: int,
    size: tuple[int, int],
) -> Tensor:
    found = learn_prototypes(support[None], mask[None], settings, mode=mode, stride=stride)
    return upsample(score_logits(query[None], found, settings), size)


def _with_threshold(settings: PrototypeSettings, threshold: float) -> PrototypeSettings:
    return replace(settings, fixed_threshold=threshold)


def _dice(predicted: Tensor, target: Tensor) -> float:
    total = float(predicted.sum() + target.sum())
    return 2.0 * float((predicted * target).sum()) / total if total else 1.0
