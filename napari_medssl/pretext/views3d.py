"""Two crops of a scan that overlap: the positive pairs of contrastive learning in 3D."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from napari_medssl.errors import SettingsError
from napari_medssl.pretext.crops3d import Size, check_size, cut, draw_corner
from napari_medssl.pretext.scan import Scan, pick_scan, to_float
from napari_medssl.pretext.task import Example
from napari_medssl.transforms.blur import MAX_SIGMA, blur_volumes
from napari_medssl.transforms.volume_affine import VolumeAffineRange, apply_volume_affine, draw_volume_affine

VIEW_AFFINE = VolumeAffineRange(
    flip=0.5,
    rotation=1.0,
    rotation_deg=(10.0, 10.0, 10.0),
    scale=1.0,
    scale_low=0.8,
    scale_high=1.2,
)
"""Flips, turns by up to 10 degrees about each axis, scales of 0.8 to 1.2 (S76; the probabilities are ours)."""

_BLUR, _BLUR_SIGMA = 0.5, (0.1, 1.0)  # how often, and how wide in voxels (ours)
_TRIES = 32


def overlap(first: Sequence[int], second: Sequence[int], size: Size) -> float:
    """Intersection over union of two boxes of one size, by their corners.

    >>> overlap((0, 0, 0), (0, 0, 32), (32, 64, 64))  # half of each is shared: 1 of 3 parts
    0.3333333333333333
    """
    shared = float(np.prod([max(0, s - abs(a - b)) for a, b, s in zip(first, second, size, strict=True)]))
    return shared / (2 * float(np.prod(size)) - shared)


def check_overlap(min_iou: float) -> None:
    """Raise SettingsError unless two boxes can overlap by more than `min_iou`."""
    if not 0 <= min_iou < 1:
        raise SettingsError(f"min_iou is {min_iou}; it must be at least 0 and less than 1")


def draw_pair(image: np.ndarray, size: Size, rng: np.random.Generator, *, min_iou: float) -> tuple[Size, Size]:
    """Corners of two boxes of which the intersection over union is above `min_iou`, always.

    The second is shifted uniformly among the shifts that keep enough of the first, and pushed back into the image,
    which only brings the two nearer.
    """
    first = draw_corner(image, size, rng)
    shared = 2 * min_iou / (1 + min_iou)  # the share of each box, for the union counts what is shared once
    furthest = [int((1 - shared) * s) for s in size]
    for _ in range(_TRIES):
        shift = rng.integers([-f for f in furthest], [f + 1 for f in furthest])
        second = _pushed_inside(np.array(first) + shift, image.shape, size)
        if overlap(first, second, size) > min_iou:
            return first, second
    return first, first


def _pushed_inside(corner: np.ndarray, shape: tuple[int, ...], size: Size) -> Size:
    room = np.array(shape) - size
    low, high = np.where(room > 0, 0, -(-room // 2)), np.where(room > 0, room, -(-room // 2))
    z, y, x = np.clip(corner, low, high)
    return int(z), int(y), int(x)


class OverlappingCrops:
    """Two overlapping crops, each flipped, turned, scaled and blurred in its own way.

    crop: voxels along z, y, x. min_iou: the intersection over union of the two boxes is above it, always; in [0, 1).
    It counts the boxes as they are cut; the turning and scaling that follows is about the centre of each.
    affine: what may happen to each view.

    An example: "crop1", "crop2" (Z, Y, X) uint8, "corner1", "corner2" (3,) int64 in the scan, "affine1", "affine2"
    (3, 3) float32, "blur1", "blur2" scalar float32 in voxels. A batch: "view1", "view2" (B, 1, Z, Y, X).

    Source: paper 002, Eq. 11, 12 and section 8.1: views "with a minor modification to ensure overlap between a positive
    pair" (S76, S77).
    """

    def __init__(self, crop: Size, *, min_iou: float = 0.25, affine: VolumeAffineRange = VIEW_AFFINE) -> None:
        check_size("crop", crop)
        check_overlap(min_iou)
        self.crop, self.min_iou, self.affine = crop, min_iou, affine

    def draw(self, scans: Sequence[Scan], rng: np.random.Generator) -> Example:
        image = pick_scan(scans, rng).image
        example: Example = {}
        for i, corner in enumerate(draw_pair(image, self.crop, rng, min_iou=self.min_iou), start=1):
            sigma = float(rng.uniform(*_BLUR_SIGMA)) if rng.random() < _BLUR else 0.0
            example |= {
                f"crop{i}": torch.from_numpy(cut(image, corner, self.crop)),
                f"corner{i}": torch.tensor(corner),
                f"affine{i}": torch.from_numpy(draw_volume_affine(rng, self.affine)),
                f"blur{i}": torch.tensor(min(sigma, MAX_SIGMA), dtype=torch.float32),
            }
        return example

    def prepare(self, batch: Example) -> Example:
        return {f"view{i}": _view(batch[f"crop{i}"], batch[f"affine{i}"], batch[f"blur{i}"]) for i in (1, 2)}


def _view(crops: Tensor, affine: Tensor, sigmas: Tensor) -> Tensor:
    return blur_volumes(apply_volume_affine(to_float(crops)[:, None], affine), sigmas)
