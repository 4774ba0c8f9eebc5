"""Training of the slice encoder on one-shot episodes, so that prototypes of one scan find the organ in another.

An episode is a support slice with masks and a query slice with the same organs; the encoder is trained through the
prototype matching it is used with. Episodes come from
- two labelled scans of one data set, slices at the same share of an organ's extent (needs labels),
- two slices of one labelled scan some millimetres apart (needs labels),
- a slice and a deformed copy with superpixels as masks, CoWPro's self-supervision (S55, S56; no labels).

Appearance is drawn anew for each episode and shared by its two slices, up to small changes, so that weights trained
on CT serve MR: what must be matched is one unknown protocol against itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_medssl.errors import FormatError
from napari_medssl.models.bundle import module_bundle, save_bundle
from napari_medssl.models.encoder import build_encoder
from napari_medssl.oneshot.matching import cell_cover, cell_prototypes, match_logits
from napari_medssl.progress import Progress, Steps
from napari_medssl.settings import setting, to_dict
from napari_medssl.train.augment import apply_grid, apply_tone, draw_tone, draw_warp, nearby_tone, warp_grid
from napari_medssl.train.dataset import Case, FramedVolume, data_facts, load_framed_steps
from napari_medssl.train.loop import LoopSettings, train_loop

_TRIES = 1000


@dataclass(frozen=True)
class InContextSettings:
    """Recipe of in-context training."""

    iterations: int = setting(6000, "optimiser steps", ge=1)
    pairs: int = setting(4, "episodes (slice pairs) per step", ge=1)
    organs: int = setting(4, "masks per episode at most", ge=1)
    learning_rate: float = setting(1e-3, "peak of the one-cycle schedule (AdamW)", ge=0)
    weight_decay: float = setting(1e-4, "AdamW weight decay", ge=0)
    subject_share: float = setting(0.6, "share of episodes across two labelled scans", ge=0, le=1)
    neighbour_share: float = setting(0.15, "share of episodes within a labelled scan", ge=0, le=1)
    absent_share: float = setting(0.15, "share of labelled episodes whose query slice is drawn anywhere", ge=0, le=1)
    superpixel_scale: float = setting(100.0, "Felzenszwalb scale of pseudo-masks", ge=1)
    superpixel_min_size: int = setting(150, "smallest pseudo-mask in framed pixels", ge=1)
    max_minutes: float = setting(0.0, "also stop after this wall time, cooling down in time; 0: no limit", ge=0)
    encoder: str = setting("slice-resnet", "registered encoder to train")
    seed: int = setting(0, "seed of every draw")


def train_incontext(cases: Sequence[Case], out: Path, settings: InContextSettings) -> Steps[Path]:
    """Train an encoder on `cases`; returns the weights file `out/encoder.safetensors`.

    A run found in `out` is resumed. Yields Progress while reading and training.
    """
    torch.manual_seed(settings.seed)
    encoder: Any = build_encoder(settings.encoder).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    volumes = yield from load_framed_steps(cases, encoder.input_size)
    source = EpisodeSource(volumes, settings, context=encoder.in_slices)

    def draw_loss() -> Tensor:
        return batch_loss(encoder, [source.draw() for _ in range(settings.pairs)])

    loop = LoopSettings(settings.iterations, settings.learning_rate, settings.weight_decay, settings.max_minutes)
    facts = yield from train_loop(encoder, draw_loss, out, loop, rng=source.rng, noise=source.noise)
    yield Progress(settings.iterations, settings.iterations, "saving")
    card = {"recipe": "in-context episodes", "settings": to_dict(settings), "run": facts, "data": data_facts(cases)}
    save_bundle(out / "encoder.safetensors", module_bundle("encoder", settings.encoder, encoder, card))
    return out / "encoder.safetensors"


@dataclass(frozen=True)
class Episode:
    """Two slices and their masks.

    support, query: (C, S, S) float32 in [0, 1]. support_masks, query_masks: (K, S, S) float32 in {0, 1}.
    """

    support: Tensor
    query: Tensor
    support_masks: Tensor
    query_masks: Tensor


class EpisodeSource:
    """Draws episodes from volumes in memory; the same seed gives the same episodes."""

    def __init__(self, volumes: Sequence[FramedVolume], settings: InContextSettings, *, context: int = 3) -> None:
        self.volumes, self.settings, self.context = list(volumes), settings, context
        self.rng = np.random.default_rng(settings.seed)
        self.noise = torch.Generator().manual_seed(settings.seed)
        self._extents = [organ_extents(v.labels) if v.labels is not None else {} for v in self.volumes]
        self._groups = _labelled_groups(self.volumes, self._extents)
        self._superpixels: dict[tuple[int, int], np.ndarray] = {}

    def draw(self) -> Episode:
        """One episode with at least one mask.

        Raises FormatError when a thousand tries in a row find none: the scans are empty or almost so.
        """
        for _ in range(_TRIES):
            kind = self.rng.random()
            if self._groups and kind < self.settings.subject_share:
                episode = self._labelled(across=True)
            elif self._groups and kind < self.settings.subject_share + self.settings.neighbour_share:
                episode = self._labelled(across=False)
            else:
                episode = self._superpixel()
            if episode is not None:
                return episode
        raise FormatError("no slice of these scans has an organ or superpixel to learn from; check what they show")

    def _labelled(self, *, across: bool) -> Episode | None:
        rng = self.rng
        names, weights = zip(*((g, len(members) ** 0.5) for g, members in self._groups.items()), strict=True)
        members = self._groups[names[rng.choice(len(names), p=np.array(weights) / sum(weights))]]
        a = int(rng.choice(members))
        b = int(rng.choice(members)) if across else a
        shared = [k for k in self._extents[a] if k in self._extents[b]]
        if not shared:
            return None
        organ = int(rng.choice(shared))
        share = float(rng.uniform(0.05, 0.95))
        za = _at_share(self._extents[a][organ], share)
        if rng.random() < self.settings.absent_share:
            zb = int(rng.integers(len(self.volumes[b].image)))
        elif across:
            zb = _at_share(self._extents[b][organ], float(np.clip(share + rng.normal(0, 0.12), 0, 1)))
        else:
            steps = max(1, round(float(rng.uniform(4, 30)) / self.volumes[a].spacing_z_mm))
            zb = int(np.clip(za + rng.choice([-1, 1]) * steps, 0, len(self.volumes[a].image) - 1))
        return self._build(a, za, b, zb, None)

    def _superpixel(self) -> Episode | None:
        a = int(self.rng.integers(len(self.volumes)))
        za = int(self.rng.integers(len(self.volumes[a].image)))
        return self._build(a, za, a, za, self._segments(a, za))

    def _segments(self, volume: int, z: int) -> np.ndarray:
        from skimage.segmentation import felzenszwalb

        key = (volume, z)
        if key not in self._superpixels:
            image = self.volumes[volume].image[z] / 255.0
            found = felzenszwalb(
                image, scale=self.settings.superpixel_scale, sigma=0.8, min_size=self.settings.superpixel_min_size
            )
            # Air is no organ: superpixels that are mostly black become 0.
            sums = np.bincount(found.ravel(), image.ravel()) / np.bincount(found.ravel())
            renumber = np.where(sums > 0.06, np.cumsum(sums > 0.06), 0)
            self._superpixels[key] = np.minimum(renumber, 255).astype(np.uint8)[found]
        return self._superpixels[key]

    def _build(self, a: int, za: int, b: int, zb: int, segments: np.ndarray | None) -> Episode | None:
        rng = self.rng
        tone = draw_tone(rng)
        tones = (tone, nearby_tone(rng, tone))
        common = draw_warp(rng, rotation_deg=8, scale=0.2, shift=0.08)
        sides = []
        for (volume, z), side_tone in zip(((a, za), (b, zb)), tones, strict=True):
            image, labels = self._slices(volume, z, segments)
            size = image.shape[-1]
            own = warp_grid(draw_warp(rng, rotation_deg=5, scale=0.1, shift=0.04), size)
            grid = apply_grid(own[0].permute(2, 0, 1), warp_grid(common, size)).permute(1, 2, 0)[None]
            outside = warp_grid(common, size).abs().amax(-1, keepdim=True) > 1
            grid = torch.where(outside, torch.full_like(grid, 2.0), grid)
            image = apply_grid(image, grid)
            labels = apply_grid(labels.float(), grid, nearest=True).round()
            offset_labels = labels if segments is None else None
            sides.append((apply_tone(image, offset_labels, side_tone, self.noise), labels[self.context // 2]))
        (support, support_labels), (query, query_labels) = sides
        present = [int(k) for k in torch.unique(support_labels) if k > 0 and (support_labels == k).sum() >= 40]
        if not present:
            return None
        chosen = rng.permutation(present)[: self.settings.organs]
        masks = [torch.stack([(m == int(k)).float() for k in chosen]) for m in (support_labels, query_labels)]
        return Episode(support, query, masks[0], masks[1])

    def _slices(self, index: int, z: int, segments: np.ndarray | None) -> tuple[Tensor, Tensor]:
        volume, half = self.volumes[index], self.context // 2
        rows = np.clip(np.arange(z - half, z + half + 1), 0, len(volume.image) - 1)
        image = torch.from_numpy(volume.image[rows].astype(np.float32) / 255)
        if segments is not None:
            labels = np.repeat(segments[None], len(rows), 0)
        elif volume.labels is None:
            labels = np.zeros(image.shape, np.uint8)
        else:
            labels = volume.labels[rows]
        return image, torch.from_numpy(labels.astype(np.int16))


def organ_extents(labels: np.ndarray) -> dict[int, np.ndarray]:
    """Organ value to the ascending slices that hold at least 20 of its pixels."""
    counts = np.stack([np.bincount(s.ravel(), minlength=256) for s in labels])
    found = {int(k): np.flatnonzero(counts[:, k] >= 20) for k in np.flatnonzero(counts.sum(0)) if k}
    return {k: zs for k, zs in found.items() if len(zs) >= 2}


def _labelled_groups(volumes: Sequence[FramedVolume], extents: Sequence[dict[int, np.ndarray]]) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = {}
    for i, v in enumerate(volumes):
        if extents[i]:
            groups.setdefault(v.case.group, []).append(i)
    return groups


def _at_share(slices: np.ndarray, share: float) -> int:
    return int(slices[round(share * (len(slices) - 1))])


def episode_logits(support: Tensor, masks: Tensor, query: Tensor) -> Tensor:
    """Foreground logits (K, h, w) of the query (D, h, w), given the support (D, h, w) and its masks (K, S, S)."""
    cover = cell_cover(masks, (support.shape[-2], support.shape[-1]))
    return torch.cat([match_logits(cell_prototypes(support, c), query[None]) for c in cover])


def episode_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Balanced cross-entropy plus soft Dice of (K, h, w) logits against (K, S, S) masks, at twice the cell grid."""
    size = (2 * logits.shape[-2], 2 * logits.shape[-1])
    up = F.interpolate(logits[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]
    target = F.interpolate(masks[:, None], size=size, mode="area")[:, 0]
    weight = 1 + 4 * target
    ce = (F.binary_cross_entropy_with_logits(up, target, reduction="none") * weight).mean()
    p = torch.sigmoid(up)
    overlap, total = (p * target).sum((1, 2)), (p + target).sum((1, 2))
    dice = 1 - (2 * overlap + 20) / (total + 20)
    return ce + dice.mean()


def batch_loss(encoder: torch.nn.Module, episodes: Sequence[Episode]) -> Tensor:
    """Mean episode loss; all slices of the batch are encoded together."""
    slices = torch.stack([e.support for e in episodes] + [e.query for e in episodes])
    features = encoder(slices.contiguous(memory_format=torch.channels_last))
    n = len(episodes)
    losses = [
        episode_loss(episode_logits(features[i], e.support_masks, features[n + i]), e.query_masks)
        for i, e in enumerate(episodes)
    ]
    return torch.stack(losses).mean()
