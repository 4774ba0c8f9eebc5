"""Pairs of overlapping crops with the places that both show: the examples of contrastive learning of voxels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor

from napari_medssl.errors import SettingsError
from napari_medssl.pretext.crops3d import Size, check_size, cut
from napari_medssl.pretext.scan import Scan, pick_scan
from napari_medssl.pretext.task import Example
from napari_medssl.pretext.views3d import check_overlap, draw_pair
from napari_medssl.transforms.blur import blur_volumes
from napari_medssl.transforms.tone import ToneRanges, draw_tone_table
from napari_medssl.transforms.volume_affine import VolumeAffineRange, apply_volume_affine, draw_volume_affine
from napari_medssl.transforms.white_noise import draw_noise_places, white_noise

FloatArray: TypeAlias = npt.NDArray[np.float32]

VOXEL_AFFINE = VolumeAffineRange(
    rotation=1.0, rotation_deg=(15.0, 15.0, 15.0), scale=1.0, scale_low=0.8, scale_high=1.25
)
"""Turns of up to 15 degrees and scales of 0.8 to 1.25, no flips: a flip would make a left kidney a right one."""

VOXEL_TONE = ToneRanges(brightness=0.15, contrast=0.25, gamma=1.6, curve=0.8)
"""Another curve of intensities in each view, up to almost any MR contrast, so that weights from CT serve MR as well."""

_AIR = 20  # of 255, as where crops are cut
_AIR_SHARE = 0.1  # of the points, at most: air is everywhere the same
_THICK, _THICKEST = 0.4, 4  # how often a view has thick slices, and of how many voxels at most
_BLUR, _BLUR_SIGMA = 0.3, (0.3, 1.2)
_NOISE = 0.04  # largest standard deviation of the noise, in shares of the window
_FIELD_NODES, _FIELD = 3, 0.25  # nodes of the bias field along each axis, and how far they lie from 1
_CANDIDATES = 16  # places drawn for each point, of which those are kept that both views show


@dataclass(frozen=True)
class _View:
    """One view of one crop, as numbers: see `VoxelPairs` for the names."""

    values: dict[str, Any]
    inverse: FloatArray
    centre: FloatArray


class VoxelPairs:
    """Several pairs of overlapping crops of one scan and, for each pair, points that both crops show.

    crop: voxels along z, y, x. pairs: crop pairs of a scan. points: of a pair. min_iou: least intersection over union
    of the two boxes as they are cut.

    The two views differ in turn, scale, intensity curve, bias field, thickness of slices, blur and noise. Points are
    voxels of the scan, at most a tenth of them air; each is told by where it lies in either view.

    An example, P pairs of N points: "crop1", "crop2" (P, Z, Y, X) uint8, "tone1".. (P, 256) float32, "affine1".. (P, 3,
    3), "blur1".., "noise1".. (P,), "noise_place1".. (P,) int64, "field1".. (P, 3, 3, 3), "points1".. (P, N, 3) float32
    x, y, z in [-1, 1] of the view, "places" (P, N, 3) float32 z, y, x in mm of the scan.
    A batch of B: "view1", "view2" (B, P, 1, Z, Y, X), and points and places.

    Raises SettingsError for crops, overlaps or numbers that make no sense.

    Source: Pinheiro et al. 2020 (VADeR: the same pixel in two views), Yan et al. 2022 (SAM: anatomical embeddings of
    voxels, without flips) and Goncharov et al. 2023 (vox2vec: overlapping 3D crops, features of all levels); strengths
    and numbers are ours.
    """

    def __init__(
        self,
        crop: Size,
        *,
        pairs: int = 2,
        points: int = 128,
        min_iou: float = 0.2,
        affine: VolumeAffineRange = VOXEL_AFFINE,
        tone: ToneRanges = VOXEL_TONE,
    ) -> None:
        check_size("crop", crop)
        check_overlap(min_iou)
        if pairs < 1 or points < 2:
            raise SettingsError(f"{pairs} pairs of crops with {points} points; at least 1 pair and 2 points are needed")
        self.crop, self.pairs, self.points, self.min_iou = crop, pairs, points, min_iou
        self.affine, self.tone = affine, tone

    def draw(self, scans: Sequence[Scan], rng: np.random.Generator) -> Example:
        scan = pick_scan(scans, rng)
        drawn = [self._pair(scan, rng) for _ in range(self.pairs)]
        return {name: torch.from_numpy(np.stack([d[name] for d in drawn])) for name in drawn[0]}

    def prepare(self, batch: Example) -> Example:
        prepared = {name: batch[name] for name in ("points1", "points2", "places")}
        for i in (1, 2):
            own = {k[:-1]: v.flatten(0, 1) for k, v in batch.items() if k.endswith(str(i))}
            prepared[f"view{i}"] = _seen(own).reshape(*batch["places"].shape[:2], 1, *self.crop)
        return prepared

    def _pair(self, scan: Scan, rng: np.random.Generator) -> dict[str, Any]:
        corners = draw_pair(scan.image, self.crop, rng, min_iou=self.min_iou)
        views = [self._view(scan, corner, rng) for corner in corners]
        places = self._places(scan, corners, views, rng)
        pair: dict[str, Any] = {"places": places * np.array(scan.spacing_mm, np.float32)}
        for i, view in enumerate(views, start=1):
            pair |= {f"{name}{i}": value for name, value in view.values.items()}
            pair[f"points{i}"] = _inside(places, view, self.crop)[:, ::-1].copy()  # x, y, z as sampling wants them
        return pair

    def _view(self, scan: Scan, corner: Size, rng: np.random.Generator) -> _View:
        crop = cut(scan.image, corner, self.crop)
        matrix = draw_volume_affine(rng, self.affine)
        values = {
            "crop": _thick(crop, rng) if rng.random() < _THICK else crop,
            "tone": draw_tone_table(rng, self.tone, mean=float(crop.mean()) / 255),
            "affine": matrix,
            "blur": np.float32(rng.uniform(*_BLUR_SIGMA) if rng.random() < _BLUR else 0.0),
            "noise": np.float32(rng.uniform(0, _NOISE)),
            "noise_place": draw_noise_places(rng, 1)[0],
            "field": (1 + rng.uniform(-_FIELD, _FIELD, (_FIELD_NODES,) * 3)).astype(np.float32),
        }
        centre = (np.array(corner) + (np.array(self.crop) - 1) / 2).astype(np.float32)
        return _View(values, np.linalg.inv(matrix).astype(np.float32), centre)

    def _places(self, scan: Scan, corners: Sequence[Size], views: list[_View], rng: np.random.Generator) -> FloatArray:
        """(N, 3) float32 z, y, x of voxels that both views show."""
        low = np.maximum(corners[0], corners[1])
        high = np.minimum(corners[0], corners[1]) + np.array(self.crop)
        count = self.points * _CANDIDATES
        places = rng.integers(low, high, (count, 3)).astype(np.float32)
        shown = np.all([np.abs(_inside(places, view, self.crop)).max(1) < 1 for view in views], axis=0)
        if not shown.any():  # two far crops, both enlarged: the middle of what they share is in reach of both
            places, shown = np.repeat(((low + high - 1) / 2).astype(np.float32)[None], count, 0), np.ones(count, bool)
        places = places[shown]
        body = _values(scan.image, places) > _AIR
        order = np.argsort(~body, kind="stable")  # body first
        kept = max(int(body.sum()), 1)
        kept = min(len(places), max(kept + int(_AIR_SHARE * self.points), 1))
        chosen = order[:kept]
        return np.asarray(places[rng.choice(chosen, self.points, replace=len(chosen) < self.points)], np.float32)


def _inside(places: FloatArray, view: _View, crop: Size) -> FloatArray:
    """(N, 3) z, y, x of places of the scan in the view, -1 to 1 from border to border."""
    at = ((places - view.centre) @ view.inverse.T) / (np.array(crop) / 2)
    return np.asarray(at, np.float32)


def _values(image: np.ndarray, places: FloatArray) -> np.ndarray:
    index = np.clip(places.round().astype(int), 0, np.array(image.shape) - 1)
    return np.asarray(image[tuple(index.T)])


def _thick(crop: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """As if taken in slices of two to four voxels and interpolated between them."""
    step = int(rng.integers(2, _THICKEST + 1))
    first = int(rng.integers(step))
    slices = ndimage.uniform_filter1d(crop.astype(np.float32), step, axis=0, mode="nearest")[first::step]
    at = np.clip((np.arange(len(crop)) - first) / step, 0, len(slices) - 1)
    below = np.minimum(at.astype(int), max(0, len(slices) - 2))
    weight = (at - below).astype(np.float32)[:, None, None]
    above = np.minimum(below + 1, len(slices) - 1)
    thick: npt.NDArray[np.uint8] = (slices[below] * (1 - weight) + slices[above] * weight).round().astype(np.uint8)
    return thick


def _seen(own: dict[str, Tensor]) -> Tensor:
    """(B P, 1, Z, Y, X) views in [0, 1]."""
    crops = own["crop"]
    toned = own["tone"].gather(1, crops.flatten(1).long()).view(crops.shape)[:, None]
    field = torch.nn.functional.interpolate(
        own["field"][:, None], size=crops.shape[1:], mode="trilinear", align_corners=True
    )
    moved = blur_volumes(apply_volume_affine(toned * field, own["affine"]), own["blur"])
    noise = white_noise(own["noise_place"], crops.shape[1:])[:, None] * own["noise"].view(-1, 1, 1, 1, 1)
    return (moved + noise).clamp(0, 1)
