"""Walks through rehearsed segmentations, with the first answer as a guide.

A mask that only has to be copied teaches copying. Walks go wrong where an organ changes fast from slice to slice, and
must then be led back by the image; so these often start with a mask that is grossly wrong. Ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_medssl.pretext.scan import Scan
from napari_medssl.pretext.task import Example
from napari_medssl.settings import setting
from napari_medssl.train.episodes.rehearsals import Rehearsal, Rehearsals
from napari_medssl.train.episodes.walks import damaged, walk_grid, walk_start

_FAR_MM = 30.0  # between a slice and the one whose mask is carried into it by mistake
_LEAST_PX = 20  # of a first answer worth starting from


@dataclass(frozen=True)
class GuideSettings:
    """How guided walks are drawn; the numbers are ours."""

    pool: int = setting(2550, "Rehearsed segmentations to draw walks from.", ge=1)
    large_share: float = setting(0.35, "Share of rehearsals of organs with a large cross-section.", ge=0, le=1)
    alike_share: float = setting(
        0.0, "Share of rehearsals in which other organs are as bright as the one that is followed.", ge=0, le=1
    )
    walker_share: float = setting(0.85, "Largest weight of the random walker in a first answer.", ge=0, le=1)
    blank: float = setting(0.35, "Share of walks without a guide.", ge=0, le=1)
    answer_start: float = setting(0.2, "Share of walks that start with the first answer's mask.", ge=0, le=1)
    far_start: float = setting(0.3, "Share of walks that start with the mask of a slice some way off.", ge=0, le=1)
    swollen_start: float = setting(0.15, "Share of walks that start with a mask much too large or small.", ge=0, le=1)
    larger_share: float = setting(0.0, "Share of walks for which the larger of two organs is taken.", ge=0, le=1)
    gain_share: float = setting(0.03, "Share of walks whose slices differ in brightness.", ge=0, le=1)
    shift_share: float = setting(0.1, "Share of walks whose slices are shifted against each other.", ge=0, le=1)
    step_mm: float = setting(2.5, "Distance of two slices of a walk, or that of the scan's own if larger.", ge=0.1)


class GuidedWalks:
    """As `Walks`, with {"guides": (T + 2, S, S)}: the first answer on the slices of "images", 0.5 without one.

    steps: T, slices per walk. crop_size: S.
    """

    def __init__(self, settings: GuideSettings, rehearsals: Rehearsals, *, steps: int, crop_size: int) -> None:
        self._settings, self._rehearsals = settings, rehearsals
        self._steps, self._size = steps, crop_size

    def draw(self, scans: Sequence[Scan], rng: np.random.Generator) -> Example:
        """One walk. Raises FormatError when nothing can be followed from one slice to the next."""
        rehearsal = self._pick(scans, rng)
        mm, direction = rehearsal.spacing_mm[0], int(rng.choice([-1, 1]))
        stride = max(1, round(float(rng.uniform(0.7, 1.3)) * self._settings.step_mm / mm))
        zs = np.flatnonzero(rehearsal.truth.any((1, 2)))
        ahead = zs[(zs - rehearsal.support) * direction >= 0]
        ahead = ahead[np.argsort(ahead * direction)]
        start, carried = walk_start(ahead, direction, stride, self._steps, depth=len(rehearsal.image), rng=rng)
        rows = np.clip(start + direction * stride * np.arange(self._steps + 2), 0, len(rehearsal.image) - 1)
        example = self._crop(rehearsal, rows, self._carried(rehearsal, int(rows[0]), carried, rng), rng)
        way = abs(start - rehearsal.support) * mm
        return example | {"gap_mm": torch.tensor(float(stride * mm)), "start_mm": torch.tensor(float(way))}

    def prepare(self, batch: Example) -> Example:
        """The batch as it is."""
        return batch

    def _pick(self, scans: Sequence[Scan], rng: np.random.Generator) -> Rehearsal:
        """Mostly small organs are labelled; large ones, which users ask for more, would hardly be practised."""
        first = self._rehearsals.get(scans, int(rng.integers(self._settings.pool)))
        if rng.random() >= self._settings.larger_share:
            return first
        return max(first, self._rehearsals.get(scans, int(rng.integers(self._settings.pool))), key=_labelled_mm2)

    def _carried(
        self, rehearsal: Rehearsal, start: int, carried: int, rng: np.random.Generator
    ) -> npt.NDArray[np.float32]:
        """(Y, X) mask a walk starts with: the truth, the first answer, or the truth of a slice some way off."""
        kind = rng.random()
        if kind < self._settings.answer_start:
            answer = rehearsal.guide[start] > 127
            if answer.sum() >= _LEAST_PX:
                return np.asarray(answer, np.float32)
        elif kind < self._settings.answer_start + self._settings.far_start:
            zs = np.flatnonzero(rehearsal.truth.any((1, 2)))
            near = zs[np.abs(zs - carried) * rehearsal.spacing_mm[0] <= _FAR_MM]
            carried = int(rng.choice(near)) if len(near) else carried
        return np.asarray(rehearsal.truth[carried], np.float32)

    def _crop(
        self,
        rehearsal: Rehearsal,
        rows: npt.NDArray[np.intp],
        carried: npt.NDArray[np.float32],
        rng: np.random.Generator,
    ) -> Example:
        order = [rehearsal.support, *rows]
        masks = torch.from_numpy(rehearsal.truth[order].astype(np.float32))
        masks[1] = torch.from_numpy(carried)
        grid = walk_grid(masks[0].numpy(), carried, self._size, rng)
        images, guides = (
            torch.from_numpy(a[order].astype(np.float32) / 255) for a in (rehearsal.image, rehearsal.guide)
        )
        images, guides, masks = (F.grid_sample(x[None], grid, align_corners=False)[0] for x in (images, guides, masks))
        masks = (masks > 0.5).float()
        if rng.random() < self._settings.shift_share:
            images, guides, masks = _shifted((images, guides, masks), rng)
        walked = masks[1:-1].clone()
        walked[0] = self._spoilt(walked[0], rng)
        if rng.random() < self._settings.blank:
            guides = torch.full_like(guides, 0.5)
        images = _noisy(images, rng, fading=rng.random() < self._settings.gain_share)
        return {
            "images": images[1:],
            "guides": guides[1:],
            "masks": walked,
            "support": images[0],
            "support_mask": masks[0],
        }

    def _spoilt(self, mask: Tensor, rng: np.random.Generator) -> Tensor:
        return swollen(mask, rng) if rng.random() < self._settings.swollen_start else damaged(mask, rng)


def _labelled_mm2(rehearsal: Rehearsal) -> float:
    _, y_mm, x_mm = rehearsal.spacing_mm
    return float(rehearsal.truth[rehearsal.support].sum()) * y_mm * x_mm


def swollen(mask: Tensor, rng: np.random.Generator) -> Tensor:
    """A (S, S) mask much too large or too small, and in the wrong place."""
    k = int(rng.choice([9, 13, 17]))
    grow = rng.random() < 0.5
    pooled = F.max_pool2d((mask if grow else 1 - mask)[None, None], k, 1, k // 2)[0, 0]
    return torch.roll(pooled if grow else 1 - pooled, [int(v) for v in rng.integers(-10, 11, 2)], (0, 1))


def _shifted(stacks: Sequence[Tensor], rng: np.random.Generator) -> list[Tensor]:
    """The slices of all (N, S, S) stacks moved alike, as when every slice has its own breath-hold."""
    shifts = np.round(rng.normal(0, 1.7, (len(stacks[0]), 2))).astype(int).tolist()
    return [torch.stack([torch.roll(x, tuple(by), (0, 1)) for x, by in zip(s, shifts, strict=True)]) for s in stacks]


def _noisy(images: Tensor, rng: np.random.Generator, *, fading: bool) -> Tensor:
    """Noise, and gain that differs a little between slices; with `fading` it drifts, as away from a surface coil."""
    gain = 1 + rng.normal(0, 0.03, len(images))
    if fading:
        gain = gain * np.exp(np.cumsum(rng.normal(0, 0.16, len(images))))
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(int(rng.integers(2**63))))
    return (
        images * torch.tensor(gain, dtype=torch.float32)[:, None, None] + float(abs(rng.normal(0, 0.02))) * noise
    ).clamp(0, 1)
