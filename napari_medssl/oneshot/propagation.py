"""Carrying masks outward from labelled slices, slice by slice, with the learned propagator.

One *walker* starts at one labelled slice of one organ and goes one way. All walkers advance together, so that each
step is one batch through the network. A walker stops at the end of the volume, at the next labelled slice of its
organ, or when the organ has ended.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_medssl.intensity import to_unit
from napari_medssl.models.propagator import assemble, crop_grid, paste_grid
from napari_medssl.progress import Progress, Steps
from napari_medssl.settings import setting
from napari_medssl.volume import Volume


@dataclass(frozen=True)
class PropagationSettings:
    """How masks are carried from slice to slice."""

    step_mm: float = setting(2.5, "smallest step from slice to slice in mm; thinner slices are grouped", ge=0, le=20)
    mirror: bool = setting(True, "average with the mirrored crop: steadier, twice the time", advanced=True)
    stop_share: float = setting(
        0.02, "the organ has ended when its area falls below this share of the labelled area", ge=0, le=1, advanced=True
    )
    patience: int = setting(2, "empty steps in a row before a walker stops", ge=1, le=10, advanced=True)


Anchors = Mapping[int, Mapping[int, np.ndarray]]
"""Organ value to labelled slice to its mask: (Y, X) float in [0, 1] or bool."""


@dataclass
class _Walker:
    organ: int
    anchor: int
    direction: int
    last: int  # slice it must not go beyond
    z: int
    mask: Tensor  # (Y, X) probability on slice z
    area: float  # of the anchor's mask
    idle: int = 0


def propagate_steps(
    query: Volume,
    anchors: Anchors,
    network: nn.Module,
    settings: PropagationSettings,
    *,
    limits: tuple[float, float],
    device: torch.device,
    slice_range: tuple[int, int] | None = None,
) -> Steps[dict[int, np.ndarray]]:
    """Foreground probability of every organ on every slice a walker reached.

    query: the scan. anchors: labelled slices of this scan. network: a propagator (models.propagator).
    limits: intensity window. slice_range: half-open range walkers stay in.

    Returns organ to (Z, Y, X) float16 in [0, 1]. Where walkers of two anchors meet, they are averaged with weights
    inverse to their distance from their anchors. Yields Progress per step.
    """
    canvas = _Canvas(query, limits, device)
    total = {k: np.zeros(query.shape, np.float32) for k in anchors}
    weight = {k: np.zeros(query.shape[0], np.float32) for k in anchors}
    for organ, slices in anchors.items():
        for z, mask in slices.items():
            total[organ][z] = np.asarray(mask, np.float32)
            weight[organ][z] = 1.0
    stride = max(1, round(settings.step_mm / query.spacing_mm[0]))
    active = _start(anchors, query.shape[0], slice_range, canvas.device)
    done, longest = 0, max((abs(w.last - w.z) for w in active), default=0)
    while active:
        for walker, z, probability in _advance(active, anchors, canvas, network, settings, stride):
            share = 1.0 / abs(z - walker.anchor)
            total[walker.organ][z] += share * probability
            weight[walker.organ][z] += share
        active = [w for w in active if w.z != w.last and w.idle < settings.patience]
        done += stride
        yield Progress(min(done, longest), longest, "following the organ through the slices")
    return {k: (total[k] / np.maximum(weight[k], 1e-6)[:, None, None]).astype(np.float16) for k in anchors}


def _start(anchors: Anchors, depth: int, slice_range: tuple[int, int] | None, device: torch.device) -> list[_Walker]:
    low, high = slice_range or (0, depth)
    walkers = []
    for organ, slices in anchors.items():
        labelled = sorted(slices)
        for z in labelled:
            mask = torch.from_numpy(np.ascontiguousarray(slices[z], dtype=np.float32)).to(device)
            above = [s for s in labelled if s > z]
            below = [s for s in labelled if s < z]
            ends = {1: above[0] - 1 if above else high - 1, -1: below[-1] + 1 if below else low}
            for direction, last in ends.items():
                if (last - z) * direction > 0:
                    walkers.append(_Walker(organ, z, direction, last, z, mask, float(mask.sum())))
    return walkers


def _advance(
    walkers: list[_Walker],
    anchors: Anchors,
    canvas: _Canvas,
    network: nn.Module,
    settings: PropagationSettings,
    stride: int,
) -> list[tuple[_Walker, int, np.ndarray]]:
    """Move every walker one stride; returns (walker, slice, probability) for each slice newly labelled."""
    reached: list[tuple[_Walker, int, np.ndarray]] = []
    boxes = torch.stack([_box(w, anchors) for w in walkers])
    jobs = [(i, w.direction * d) for i, w in enumerate(walkers) for d in range(1, min(stride, abs(w.last - w.z)) + 1)]
    maps = _predict(walkers, jobs, boxes, anchors, canvas, network, mirror=settings.mirror)
    for (i, offset), probability in zip(jobs, maps, strict=True):
        reached.append((walkers[i], walkers[i].z + offset, probability.cpu().numpy()))
    furthest = {i: (offset, k) for k, (i, offset) in enumerate(jobs)}
    for i, (offset, k) in furthest.items():
        walker = walkers[i]
        walker.z += offset
        walker.mask = maps[k]
        ended = float((maps[k] > 0.5).sum()) < settings.stop_share * walker.area
        walker.idle = walker.idle + 1 if ended else 0
    return reached


def _predict(
    walkers: list[_Walker],
    jobs: list[tuple[int, int]],
    boxes: Tensor,
    anchors: Anchors,
    canvas: _Canvas,
    network: nn.Module,
    *,
    mirror: bool,
) -> list[Tensor]:
    """(Y, X) probability for each job, a (walker number, slice offset)."""
    size = int(network.crop_size)  # type: ignore[arg-type]
    which = [walkers[i] for i, _ in jobs]
    boxes = boxes[[i for i, _ in jobs]]
    grid = crop_grid(boxes, size, canvas.shape_yx)
    mm = canvas.spacing_z_mm

    def crops(slices: list[Tensor]) -> Tensor:
        return F.grid_sample(torch.stack(slices)[:, None], grid, padding_mode="zeros", align_corners=False)[:, 0]

    targets = [w.z + offset for w, (_, offset) in zip(which, jobs, strict=True)]
    inputs = assemble(
        target=crops([canvas[z] for z in targets]),
        previous=crops([canvas[w.z] for w in which]),
        beyond=crops([canvas[z + o] for z, (_, o) in zip(targets, jobs, strict=True)]),
        previous_mask=crops([w.mask for w in which]),
        support=crops([canvas[w.anchor] for w in which]),
        support_mask=crops([canvas.mask(anchors[w.organ][w.anchor]) for w in which]),
        gap_mm=torch.tensor([abs(o) * mm for _, o in jobs], device=canvas.device),
        distance_mm=torch.tensor(
            [abs(z - w.anchor) * mm for z, w in zip(targets, which, strict=True)], device=canvas.device
        ),
    )
    probability = torch.sigmoid(network(inputs))
    if mirror:
        probability = (probability + torch.sigmoid(network(inputs.flip(-1))).flip(-1)) / 2
    out = F.grid_sample(probability[:, None], paste_grid(boxes, canvas.shape_yx), align_corners=False)[:, 0]
    return list(out)


def _box(walker: _Walker, anchors: Anchors) -> Tensor:
    mask = (walker.mask > 0.5).cpu().numpy()
    box = box_around(mask, np.asarray(anchors[walker.organ][walker.anchor]) > 0.5)
    return torch.tensor(box, dtype=torch.float32, device=walker.mask.device)


def box_around(mask: np.ndarray, support: np.ndarray) -> tuple[float, float, float]:
    """Centre (y, x) and side in pixels of the square crop around `mask`.

    The side is 1.7 times the mask's longer side plus 10 pixels, but never less than 0.6 of the same figure for the
    support mask nor 28 pixels: a shrinking organ must not be looked at ever more closely. An empty mask gives the
    support's place.
    """
    top, bottom, left, right = _extent(mask if mask.any() else support)
    s_top, s_bottom, s_left, s_right = _extent(support)
    side = 1.7 * max(bottom - top, right - left) + 10
    least = 0.6 * (1.7 * max(s_bottom - s_top, s_right - s_left) + 10)
    return (top + bottom) / 2, (left + right) / 2, float(max(side, least, 28.0))


def _extent(mask: np.ndarray) -> tuple[int, int, int, int]:
    ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(ys[0]), int(ys[-1]), int(xs[0]), int(xs[-1])


class _Canvas:
    """Slices of a volume as unit float tensors on the device, converted once while in reach of a walker."""

    _KEPT = 96

    def __init__(self, volume: Volume, limits: tuple[float, float], device: torch.device) -> None:
        self._volume, self._limits, self.device = volume, limits, device
        self.shape_yx = (volume.shape[1], volume.shape[2])
        self.spacing_z_mm = volume.spacing_mm[0]
        self._slices: dict[int, Tensor] = {}
        self._masks: dict[int, Tensor] = {}

    def __getitem__(self, z: int) -> Tensor:
        z = min(max(z, 0), self._volume.shape[0] - 1)
        if z not in self._slices:
            if len(self._slices) >= self._KEPT:
                self._slices.pop(next(iter(self._slices)))
            self._slices[z] = torch.from_numpy(to_unit(self._volume.data[z], self._limits)).to(self.device)
        return self._slices[z]

    def mask(self, mask: np.ndarray) -> Tensor:
        """A support mask as tensor, converted once."""
        if id(mask) not in self._masks:
            self._masks[id(mask)] = torch.from_numpy(np.ascontiguousarray(mask, dtype=np.float32)).to(self.device)
        return self._masks[id(mask)]
