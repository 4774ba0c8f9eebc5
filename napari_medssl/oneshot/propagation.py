"""Carrying masks outward from labelled slices, slice by slice, with the learned propagator.

One *walker* starts at one labelled slice of one organ and goes one way. All walkers advance together, so that each
step is one batch through the network. A walker stops at the end of the volume, at the next labelled slice of its
organ, or when the organ has ended.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_medssl.intensity import to_unit
from napari_medssl.models.propagator import assemble, crop_grid, paste_grid
from napari_medssl.oneshot.tracks import Piece, Track, TrackStore, cut, track_key
from napari_medssl.progress import Progress, Steps
from napari_medssl.settings import digest, setting
from napari_medssl.volume import Volume


@dataclass(frozen=True)
class PropagationSettings:
    """How masks are carried from slice to slice."""

    step_mm: float = setting(2.5, "smallest step from slice to slice in mm; thinner slices are grouped", ge=0, le=20)
    mirror: bool = setting(False, "average with the mirrored crop: steadier, twice the time", advanced=True)
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
    area: float  # of the anchor's mask, in pixels
    key: str
    track: Track
    z: int  # slice it stands on
    mask: Tensor  # (Y, X) probability on slice z

    @property
    def walking(self) -> bool:
        return self.z != self.last


def propagate_steps(
    query: Volume,
    anchors: Anchors,
    network: nn.Module,
    settings: PropagationSettings,
    *,
    limits: tuple[float, float],
    device: torch.device,
    slice_range: tuple[int, int] | None = None,
    keep_way: bool = False,
    tracks: TrackStore | None = None,
    identity: str = "",
    guides: Mapping[int, np.ndarray] | None = None,
) -> Steps[dict[int, np.ndarray]]:
    """Foreground probability of every organ on every slice a walker reached.

    query: the scan. anchors: labelled slices of this scan. network: a propagator (models.propagator).
    limits: intensity window. slice_range: half-open range walkers stay in; one that starts outside walks into it.
    keep_way: give back such a walker's way outside the range too.
    tracks: where ways already walked are kept; identity: names the network in their keys (its weights' hash).
    guides: organ to an earlier (Z, Y, X) probability, for a guided network, which carries the mean of its own opinion
        and the earlier one from slice to slice (alone, held-out Dice was 0.006 lower); such ways are not kept.

    Returns organ to (Z, Y, X) float16 in [0, 1], 0 outside the range. Where walkers of two anchors meet, they are
    averaged with weights inverse to their distance from their anchors. Yields Progress per step.
    """
    canvas = _Canvas(query, limits, device, guides)
    store = tracks if tracks is not None and guides is None else TrackStore()
    base = f"{query.content_hash}|{limits}|{identity}|{digest(settings)}"
    stride = slice_step(query.spacing_mm[0], settings)
    walkers = _start(anchors, query.shape[0], slice_range, canvas, store, base, stride, settings.stop_share)
    active = [w for w in walkers if w.walking and w.track.idle < settings.patience]
    done, longest = 0, max((abs(w.last - w.z) for w in active), default=0)
    while active:
        with torch.inference_mode():  # not around the yield: the caller would compute in it too
            _advance(active, anchors, canvas, network, settings, stride)
        active = [w for w in active if w.walking and w.track.idle < settings.patience]
        done += stride
        yield Progress(min(done, longest), longest, "following the organ through the slices")
    for walker in walkers:
        store.put(walker.key, walker.track)
    kept = (0, query.shape[0]) if keep_way or slice_range is None else slice_range
    return {
        organ: _merge(query.shape, slices, [w for w in walkers if w.organ == organ], kept)
        for organ, slices in anchors.items()
    }


def slice_step(spacing_z_mm: float, settings: PropagationSettings) -> int:
    """Slices a walker moves at once."""
    return max(1, round(settings.step_mm / spacing_z_mm))


def _merge(
    shape: tuple[int, int, int],
    slices: Mapping[int, np.ndarray],
    walkers: list[_Walker],
    kept: tuple[int, int],
) -> np.ndarray:
    total = np.zeros(shape, np.float16)
    weight = np.zeros(shape[0], np.float32)
    pieces = [(w, p) for w in walkers for p in w.track.pieces if (w.last - p.z) * w.direction >= 0]
    for walker, piece in pieces:
        weight[piece.z] += 1.0 / abs(piece.z - walker.anchor)
    for walker, piece in pieces:
        piece.add_to(total, 1.0 / abs(piece.z - walker.anchor) / float(weight[piece.z]))
    for z, mask in slices.items():
        total[z] = mask
    total[: kept[0]] = 0
    total[kept[1] :] = 0
    return total


def _start(
    anchors: Anchors,
    depth: int,
    slice_range: tuple[int, int] | None,
    canvas: _Canvas,
    store: TrackStore,
    base: str,
    stride: int,
    stop_share: float,
) -> list[_Walker]:
    low, high = slice_range or (0, depth)
    walkers = []
    for organ, slices in anchors.items():
        labelled = sorted(slices)
        for z in labelled:
            above = [s for s in labelled if s > z]
            below = [s for s in labelled if s < z]
            ends = {
                1: min(above[0] - 1, high - 1) if above else high - 1,
                -1: max(below[-1] + 1, low) if below else low,
            }
            for direction, last in ends.items():
                if (last - z) * direction > 0 and low <= last < high:
                    key = track_key(base, np.asarray(slices[z]), z, direction)
                    track = store.get(key)
                    if track.pieces and (last - track.pieces[-1].z) * direction > 0:
                        track.settle(stride, stop_share * float(np.asarray(slices[z], np.float32).sum()))
                    walkers.append(_stand(organ, z, direction, last, slices[z], key, track, canvas))
    return walkers


def _stand(
    organ: int, anchor: int, direction: int, last: int, mask: np.ndarray, key: str, track: Track, canvas: _Canvas
) -> _Walker:
    """A walker at the end of what is already known of its way."""
    start = canvas.mask(mask)
    area = float(start.sum())
    known = [p for p in track.pieces if (last - p.z) * direction >= 0]
    if not known:
        return _Walker(organ, anchor, direction, last, area, key, track, anchor, start)
    return _Walker(organ, anchor, direction, last, area, key, track, known[-1].z, canvas.piece(known[-1]))


def _advance(
    walkers: list[_Walker],
    anchors: Anchors,
    canvas: _Canvas,
    network: nn.Module,
    settings: PropagationSettings,
    stride: int,
) -> None:
    """Move every walker one stride, adding a piece to its track for each slice newly labelled."""
    boxes = torch.stack([_box(w, anchors) for w in walkers])
    jobs = [(i, w.direction * d) for i, w in enumerate(walkers) for d in range(1, min(stride, abs(w.last - w.z)) + 1)]
    maps = _predict(walkers, jobs, boxes, anchors, canvas, network, mirror=settings.mirror)
    for (i, offset), (probability, origin) in zip(jobs, maps, strict=True):
        walkers[i].track.pieces.append(cut(walkers[i].z + offset, probability.cpu().numpy(), origin))
    furthest = dict(jobs)  # the last job of each walker is its furthest
    for i, offset in furthest.items():
        walker = walkers[i]
        walker.z += offset
        # From the kept piece, not from the map itself: a way resumed later must go on exactly alike.
        walker.mask = canvas.piece(walker.track.pieces[-1])
        if canvas.guided:  # a walk that has lost the organ is led back by the earlier opinion
            walker.mask = (walker.mask + canvas.guide(walker.organ, walker.z)) / 2
        ended = float((walker.mask > 0.5).sum()) < settings.stop_share * walker.area
        walker.track.idle = walker.track.idle + 1 if ended else 0


def _predict(
    walkers: list[_Walker],
    jobs: list[tuple[int, int]],
    boxes: Tensor,
    anchors: Anchors,
    canvas: _Canvas,
    network: nn.Module,
    *,
    mirror: bool,
) -> list[tuple[Tensor, tuple[int, int]]]:
    """For each job, a (walker number, slice offset): probability of the slice's part under its box, and its origin."""
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
        guide=_guide(which, jobs, targets, canvas, grid) if getattr(network, "guided", False) else None,
    )
    probability = torch.sigmoid(network(inputs))
    if mirror:
        probability = (probability + torch.sigmoid(network(inputs.flip(-1))).flip(-1)) / 2
    return [_paste(p, box, canvas.shape_yx) for p, box in zip(probability, boxes, strict=True)]


def _guide(
    which: list[_Walker], jobs: list[tuple[int, int]], targets: list[int], canvas: _Canvas, grid: Tensor
) -> tuple[Tensor, Tensor]:
    """The earlier opinion under each job's box, on its target and on the slice beyond; 0.5 where there is none."""
    if not canvas.guided:
        blank = grid.new_full(grid.shape[:3], 0.5)
        return blank, blank
    beyond = [z + o for z, (_, o) in zip(targets, jobs, strict=True)]
    first, second = (
        F.grid_sample(
            torch.stack([canvas.guide(w.organ, z) for w, z in zip(which, zs, strict=True)])[:, None],
            grid,
            align_corners=False,
        )[:, 0]
        for zs in (targets, beyond)
    )
    return first, second


def _paste(crop: Tensor, box: Tensor, shape_yx: tuple[int, int]) -> tuple[Tensor, tuple[int, int]]:
    """The (S, S) crop back at the slice's resolution: the part of the slice it covers, and that part's first pixel."""
    centre_y, centre_x, side = box.tolist()
    # Interpolation with zeros reaches half a crop pixel beyond the box.
    reach = side / 2 * (1 + 1 / crop.shape[-1]) + 1
    (top, bottom), (left, right) = (
        (max(0, math.floor(c - reach)), min(n, math.ceil(c + reach) + 1))
        for c, n in zip((centre_y, centre_x), shape_yx, strict=True)
    )
    moved = box - box.new_tensor([top, left, 0])
    grid = paste_grid(moved[None], (bottom - top, right - left))
    return F.grid_sample(crop[None, None], grid, align_corners=False)[0, 0], (top, left)


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

    def __init__(
        self,
        volume: Volume,
        limits: tuple[float, float],
        device: torch.device,
        guides: Mapping[int, np.ndarray] | None = None,
    ) -> None:
        self._volume, self._limits, self.device, self._guides = volume, limits, device, guides
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

    def piece(self, piece: Piece) -> Tensor:
        """A kept piece as a whole slice."""
        return torch.from_numpy(piece.whole(self.shape_yx)).to(self.device)

    @property
    def guided(self) -> bool:
        """Whether there is an earlier opinion."""
        return self._guides is not None

    def guide(self, organ: int, z: int) -> Tensor:
        """The earlier opinion of a slice."""
        assert self._guides is not None
        z = min(max(z, 0), self._volume.shape[0] - 1)
        return torch.from_numpy(self._guides[organ][z].astype(np.float32)).to(self.device)

    def mask(self, mask: np.ndarray) -> Tensor:
        """A support mask as tensor, converted once."""
        if id(mask) not in self._masks:
            self._masks[id(mask)] = torch.from_numpy(np.ascontiguousarray(mask, dtype=np.float32)).to(self.device)
        return self._masks[id(mask)]
