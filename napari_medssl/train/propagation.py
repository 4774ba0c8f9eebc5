"""Training of the propagator on short walks through labelled volumes.

A walk starts at a slice whose mask is known (sometimes damaged, as after an imperfect step), goes a few slices up or
down, and feeds each prediction into the next step, past the organ's end if need be. Organs are those of labelled
sets and, for everything else, supervoxels (SLIC), so that the network learns to carry any region in any contrast.
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

from napari_medssl.errors import FormatError, MedSSLError
from napari_medssl.intensity import to_unit, window_limits
from napari_medssl.io import read
from napari_medssl.models.bundle import module_bundle, save_bundle
from napari_medssl.models.propagator import assemble, build_propagator, crop_grid
from napari_medssl.oneshot.propagation import box_around
from napari_medssl.progress import Progress, Steps
from napari_medssl.settings import setting, to_dict
from napari_medssl.train.augment import apply_tone, draw_tone
from napari_medssl.train.dataset import Case, data_facts, label_bytes
from napari_medssl.train.incontext import organ_extents
from napari_medssl.train.loop import LoopSettings, train_loop


@dataclass(frozen=True)
class PropagationSettings:
    """Recipe of propagator training."""

    iterations: int = setting(6000, "optimiser steps", ge=1)
    max_minutes: float = setting(0.0, "also stop after this wall time, cooling down in time; 0: no limit", ge=0)
    walks: int = setting(8, "walks per optimiser step", ge=1)
    steps: int = setting(3, "slices per walk", ge=1)
    learning_rate: float = setting(1e-3, "peak of the one-cycle schedule (AdamW)", ge=0)
    weight_decay: float = setting(1e-4, "AdamW weight decay", ge=0)
    supervoxel_share: float = setting(0.25, "share of walks that follow a supervoxel", ge=0, le=1)
    supervoxel_cases: int = setting(16, "scans of which supervoxels are made", ge=0)
    supervoxels: int = setting(150, "supervoxels per scan", ge=2)
    propagator: str = setting("crop-unet", "registered propagator to train")
    seed: int = setting(0, "seed of every draw")


@dataclass(frozen=True, eq=False)
class WalkVolume:
    """A scan to walk through: image (Z, Y, X) uint8, labels (Z, Y, X) uint8, slice distance in mm, organ extents."""

    image: np.ndarray
    labels: np.ndarray
    spacing_z_mm: float
    group: str
    extents: dict[int, np.ndarray]


@dataclass(frozen=True)
class Walk:
    """One walk: crops (T + 2, S, S) of the start slice, the T targets and the slice beyond; masks (T + 1, S, S);
    the support crop and its mask (S, S); gap and the start's distance from the support in mm."""

    images: Tensor
    masks: Tensor
    support: Tensor
    support_mask: Tensor
    gap_mm: float
    start_mm: float


def train_propagation(cases: Sequence[Case], out: Path, settings: PropagationSettings) -> Steps[Path]:
    """Train a propagator on `cases`; returns the weights file `out/propagator.safetensors`.

    A run found in `out` is resumed. Yields Progress while reading and training.
    """
    torch.manual_seed(settings.seed)
    network: Any = build_propagator(settings.propagator).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    volumes = yield from _load(cases, settings)
    source = WalkSource(volumes, settings, crop_size=network.crop_size)

    def draw_loss() -> Tensor:
        return walk_loss(network, [source.draw() for _ in range(settings.walks)])

    loop = LoopSettings(settings.iterations, settings.learning_rate, settings.weight_decay, settings.max_minutes)
    facts = yield from train_loop(network, draw_loss, out, loop, rng=source.rng, noise=source.noise)
    yield Progress(settings.iterations, settings.iterations, "saving")
    card = {"recipe": "slice walks", "settings": to_dict(settings), "run": facts, "data": data_facts(cases)}
    save_bundle(out / "propagator.safetensors", module_bundle("propagator", settings.propagator, network, card))
    return out / "propagator.safetensors"


def walk_loss(network: torch.nn.Module, walks: Sequence[Walk]) -> Tensor:
    """Mean over steps of cross-entropy plus soft Dice; each step starts from the step before's own prediction."""
    images = torch.stack([w.images for w in walks])
    masks = torch.stack([w.masks for w in walks])
    support = torch.stack([w.support for w in walks])
    support_mask = torch.stack([w.support_mask for w in walks])
    gap = torch.tensor([w.gap_mm for w in walks])
    start = torch.tensor([w.start_mm for w in walks])
    carried, losses = masks[:, 0], []
    for t in range(1, masks.shape[1]):
        inputs = assemble(
            target=images[:, t],
            previous=images[:, t - 1],
            beyond=images[:, t + 1],
            previous_mask=carried,
            support=support,
            support_mask=support_mask,
            gap_mm=gap,
            distance_mm=start + t * gap,
        )
        logits = network(inputs.contiguous(memory_format=torch.channels_last))
        losses.append(mask_loss(logits, masks[:, t]))
        carried = torch.sigmoid(logits).detach()
    return torch.stack(losses).mean()


def mask_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy plus soft Dice of (B, S, S) logits; the Dice term is smoothed so that empty targets count."""
    ce = F.binary_cross_entropy_with_logits(logits, target)
    p = torch.sigmoid(logits)
    overlap, total = (p * target).sum((1, 2)), (p + target).sum((1, 2))
    return 2 * ce + (1 - (2 * overlap + 30) / (total + 30)).mean()


class WalkSource:
    """Draws walks; the same seed gives the same walks."""

    def __init__(self, volumes: Sequence[WalkVolume], settings: PropagationSettings, *, crop_size: int) -> None:
        self.settings, self.size = settings, crop_size
        self.rng = np.random.default_rng(settings.seed)
        self.noise = torch.Generator().manual_seed(settings.seed)
        self._groups: dict[str, list[WalkVolume]] = {}
        for v in volumes:
            if v.extents:
                self._groups.setdefault(v.group, []).append(v)
        if not self._groups:
            raise FormatError("no scan has a label or supervoxel on two neighbouring slices; nothing to walk along")

    def draw(self) -> Walk:
        """One walk."""
        rng = self.rng
        volume = self._pick_volume()
        organ = int(rng.choice(list(volume.extents)))
        zs = volume.extents[organ]
        areas = np.array([(volume.labels[z] == organ).sum() for z in zs], float)
        support = int(rng.choice(zs, p=areas**0.7 / (areas**0.7).sum()))
        direction = int(rng.choice([-1, 1]))
        stride = max(1, round(float(rng.uniform(1.0, 9.0)) / volume.spacing_z_mm))
        start, carried = self._start(zs, support, direction, stride, len(volume.image))
        rows = start + direction * stride * np.arange(self.settings.steps + 2)
        return self._crop(volume, organ, support, rows, stride, carried)

    def _start(self, zs: np.ndarray, support: int, direction: int, stride: int, depth: int) -> tuple[int, int]:
        """The slice a walk starts on, and the slice whose mask it starts with.

        The two differ when the walk is already lost: past the organ's end, still holding the last mask. Walks near
        the end and past it are drawn more often than chance would, because stopping is the hardest part.
        """
        rng = self.rng
        ahead = zs[(zs - support) * direction >= 0]
        ahead = ahead[np.argsort(ahead * direction)]
        kind = rng.random()
        if kind < 0.35:
            return support, support
        if kind < 0.6:
            return (start := int(rng.choice(ahead))), start
        if kind < 0.88:
            near = ahead[-max(1, self.settings.steps * stride) :]
            return (start := int(rng.choice(near))), start
        last = int(ahead[-1])
        past = last + direction * int(rng.integers(1, 2 * stride + 1))
        return int(np.clip(past, 0, depth - 1)), last

    def _pick_volume(self) -> WalkVolume:
        rng = self.rng
        pseudo = [g for g in self._groups if g.startswith("supervoxels")]
        real = [g for g in self._groups if g not in pseudo]
        names = pseudo if pseudo and (not real or rng.random() < self.settings.supervoxel_share) else real
        # A set counts by the number of different organs it teaches, not by its number of scans.
        weights = np.array([len({k for v in self._groups[g] for k in v.extents}) ** 0.7 for g in names])
        group = self._groups[names[int(rng.choice(len(names), p=weights / weights.sum()))]]
        return group[int(rng.integers(len(group)))]

    def _crop(self, volume: WalkVolume, organ: int, support: int, rows: np.ndarray, stride: int, carried: int) -> Walk:
        rng = self.rng
        clipped = np.clip(rows, 0, len(volume.image) - 1)
        order = [support, *clipped]
        images = torch.from_numpy(volume.image[order].astype(np.float32) / 255)
        labels = torch.from_numpy(volume.labels[order].astype(np.int16))
        masks = (labels == organ).float()
        masks[1] = torch.from_numpy(volume.labels[carried] == organ).float()
        grid = self._grid(masks[0].numpy(), masks[1].numpy(), volume.image.shape[1:])
        images = F.grid_sample(images[None], grid, align_corners=False)[0]
        labels = F.grid_sample(labels[None].float(), grid, mode="nearest", align_corners=False)[0]
        masks = (F.grid_sample(masks[None], grid, align_corners=False)[0] > 0.5).float()
        images = apply_tone(images, labels, draw_tone(rng, strength=0.7), self.noise)
        images = images * torch.tensor(1 + rng.normal(0, 0.03, len(order)), dtype=torch.float32)[:, None, None]
        mid = masks[1:-1].clone()
        mid[0] = self._damage(mid[0])
        gap = float(stride * volume.spacing_z_mm)
        return Walk(images[1:], mid, images[0], masks[0], gap, float(abs(rows[0] - support) * volume.spacing_z_mm))

    def _grid(self, support: np.ndarray, start: np.ndarray, shape: tuple[int, ...]) -> Tensor:
        rng = self.rng
        y, x, side = box_around(start if start.any() else support, support)
        side *= float(rng.uniform(0.85, 1.25))
        y, x = y + side * rng.normal(0, 0.05), x + side * rng.normal(0, 0.05)
        grid = crop_grid(torch.tensor([[y, x, side]], dtype=torch.float32), self.size, (shape[0], shape[1]))
        angle = float(rng.uniform(-0.5, 0.5))
        squeeze = float(np.exp(rng.normal(0, 0.1)))
        flip = float(rng.choice([-1.0, 1.0]))
        turn = torch.tensor(
            [[np.cos(angle) * squeeze, -np.sin(angle)], [np.sin(angle), np.cos(angle) / squeeze]], dtype=torch.float32
        )
        turn[:, 0] *= flip
        # Turn in pixels around the box centre: grid units differ between axes when the slice is not square.
        unit = torch.tensor([shape[1] / 2, shape[0] / 2])
        centre = grid.mean((1, 2), keepdim=True)
        return ((grid - centre) * unit @ turn.T) / unit + centre

    def _damage(self, mask: Tensor) -> Tensor:
        """A mask as an imperfect step leaves it: shifted, grown or shrunk, softened, a piece lost or added."""
        rng = self.rng
        if rng.random() < 0.3:
            return mask
        shift = [int(v) for v in rng.integers(-4, 5, 2)]
        out = torch.roll(mask, shift, (0, 1))
        k = int(rng.choice([3, 5, 7]))
        grow = rng.random() < 0.5
        pooled = F.max_pool2d((out if grow else 1 - out)[None, None], k, 1, k // 2)[0, 0]
        out = pooled if grow else 1 - pooled
        if rng.random() < 0.3:
            y, x = (int(v) for v in rng.integers(0, self.size - 16, 2))
            out[y : y + 16, x : x + 16] = float(rng.random() < 0.3)
        soft = F.avg_pool2d(out[None, None], 5, 1, 2)[0, 0]
        return soft if rng.random() < 0.6 else out


def _load(cases: Sequence[Case], settings: PropagationSettings) -> Steps[list[WalkVolume]]:
    loaded: list[WalkVolume] = []
    made = 0
    unlabelled_first = sorted(cases, key=lambda c: c.labels is not None)
    for i, case in enumerate(unlabelled_first):
        yield Progress(i, len(cases), f"reading {case.image.name}")
        try:
            volume = read(case.image)
            labels = read(case.labels, labels=True) if case.labels else None
            small = label_bytes(labels, case) if labels is not None else None
        except MedSSLError as error:
            raise FormatError(f"cannot train on {case.image}: {error}") from error
        if small is not None and small.shape != volume.shape:
            raise FormatError(f"{case.labels} has shape {small.shape} but its image has {volume.shape}")
        image = (to_unit(volume.data, window_limits(volume)) * 255).round().astype(np.uint8)
        if small is not None:
            loaded.append(WalkVolume(image, small, volume.spacing_mm[0], case.group, organ_extents(small)))
        if made < settings.supervoxel_cases and image.shape[0] >= 12:
            made += 1
            pseudo = supervoxels(image, volume.spacing_mm, settings.supervoxels)
            group = f"supervoxels of {case.group}"
            loaded.append(WalkVolume(image, pseudo, volume.spacing_mm[0], group, organ_extents(pseudo)))
    return loaded


def supervoxels(image: np.ndarray, spacing_mm: tuple[float, float, float], count: int) -> np.ndarray:
    """(Z, Y, X) uint8 SLIC supervoxels of the body, 0 in air, computed at half resolution in plane."""
    from skimage.segmentation import slic

    half = image[:, ::2, ::2].astype(np.float32) / 255
    body = half > 0.08
    if body.sum() < 1000:
        return np.zeros(image.shape, np.uint8)
    spacing = (spacing_mm[0], 2 * spacing_mm[1], 2 * spacing_mm[2])
    found = slic(half, count, compactness=0.08, sigma=1.0, spacing=spacing, mask=body, channel_axis=None)
    found = np.where(found > 255, 0, found).astype(np.uint8)
    big = found.repeat(2, 1).repeat(2, 2)
    return np.ascontiguousarray(big[:, : image.shape[1], : image.shape[2]])
