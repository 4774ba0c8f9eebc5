"""Random views of slices: parameters drawn one by one, applied to a whole batch in few tensor operations."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_medssl.transforms.blur import blur_slices
from napari_medssl.transforms.tone import ToneRanges, draw_tone_table
from napari_medssl.transforms.white_noise import draw_noise_places, white_noise

_TRIES = 10
_NO_HOLE = -9.0  # centre of a hole far outside the view


@dataclass(frozen=True)
class ViewRanges:
    """What a random view may look like; every default leaves the slice as it is.

    crop: smallest and largest share of the slice's area. ratio: largest ratio of the sides of the crop.
    flip_x, flip_y: probability of a mirror image left-right, up-down. quarter_turn: probability of a turn by 90, 180
    or 270 degrees. rotation_deg: largest angle, drawn with probability rotation_chance. zoom: smallest and largest
    enlargement, drawn with probability zoom_chance. tone: intensities.
    blur_sigma: smallest and largest, in pixels of the view; blur_chance; blur_radius: half width of the kernel.
    noise_sd: standard deviation, or with noise_uniform the largest one. holes: smallest and largest number of CutOut
    squares; hole_side: their side as a share of the view's.
    """

    crop: tuple[float, float] = (1.0, 1.0)
    ratio: float = 1.0
    flip_x: float = 0.0
    flip_y: float = 0.0
    quarter_turn: float = 0.0
    rotation_deg: float = 0.0
    rotation_chance: float = 1.0
    zoom: tuple[float, float] = (1.0, 1.0)
    zoom_chance: float = 1.0
    tone: ToneRanges = field(default_factory=ToneRanges)
    blur_sigma: tuple[float, float] = (0.0, 0.0)
    blur_chance: float = 1.0
    blur_radius: int = 2
    noise_sd: float = 0.0
    noise_uniform: bool = False
    holes: tuple[int, int] = (0, 0)
    hole_side: float = 0.25


def draw_views(rng: np.random.Generator, ranges: ViewRanges, *, count: int, mean: float) -> dict[str, Tensor]:
    """Parameters of `count` views of one slice of mean intensity `mean`, in [0, 1].

    matrix: (V, 2, 3) float32, from the view's normalised x, y to the slice's, as `affine_grid` takes it.
    table: (V, 256) float32, new intensities. blur: (V,) sigmas in pixels. noise: (V,) standard deviations.
    noise_place: (V,) int64. holes: (V, K, 2) float32, centres y, x in shares of the side, far outside for no hole.
    """
    low, high = ranges.blur_sigma
    blurs = rng.uniform(low, high, count) * (rng.random(count) < ranges.blur_chance)
    noise = np.full(count, ranges.noise_sd) * (rng.random(count) if ranges.noise_uniform else 1.0)
    return {
        "matrix": torch.from_numpy(np.stack([draw_view_matrix(rng, ranges) for _ in range(count)])),
        "table": torch.from_numpy(np.stack([draw_tone_table(rng, ranges.tone, mean=mean) for _ in range(count)])),
        "blur": torch.from_numpy(blurs.astype(np.float32)),
        "noise": torch.from_numpy(noise.astype(np.float32)),
        "noise_place": torch.from_numpy(draw_noise_places(rng, count)),
        "holes": torch.from_numpy(np.stack([_draw_holes(rng, ranges) for _ in range(count)])),
    }


def draw_view_matrix(rng: np.random.Generator, ranges: ViewRanges) -> np.ndarray:
    """(2, 3) float32 map from normalised x, y of the view to those of the (square) slice.

    The crop is turned about its own centre, so its corners show the surroundings instead of voids.
    """
    half, centre = _draw_crop(rng, ranges)
    angle = 0.0
    if rng.random() < ranges.rotation_chance:
        angle += np.deg2rad(rng.uniform(-ranges.rotation_deg, ranges.rotation_deg))
    if rng.random() < ranges.quarter_turn:
        angle += np.pi / 2 * rng.integers(1, 4)
    if rng.random() < ranges.zoom_chance:
        half = half / rng.uniform(*ranges.zoom)
    mirror = np.where(rng.random(2) < (ranges.flip_x, ranges.flip_y), -1.0, 1.0)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.concatenate([turn * (half * mirror), centre[:, None]], 1).astype(np.float32)


def _draw_crop(rng: np.random.Generator, ranges: ViewRanges) -> tuple[np.ndarray, np.ndarray]:
    """Half sides and centre of a box, x then y, in normalised coordinates; the box lies in the slice."""
    widest = np.log(ranges.ratio)
    half = np.ones(2)
    for _ in range(_TRIES):
        area, ratio = rng.uniform(*ranges.crop), np.exp(rng.uniform(-widest, widest))
        half = np.sqrt([area * ratio, area / ratio])
        if half.max() <= 1:
            break
    half = np.minimum(half, 1.0)
    return half, rng.uniform(-1.0, 1.0, 2) * (1 - half)


def _draw_holes(rng: np.random.Generator, ranges: ViewRanges) -> np.ndarray:
    low, high = ranges.holes
    centres = rng.random((high, 2)).astype(np.float32)
    centres[rng.integers(low, high + 1) :] = _NO_HOLE
    return centres


def apply_views(slices: Tensor, parameters: dict[str, Tensor], ranges: ViewRanges, *, size: int) -> Tensor:
    """The views of a batch: (B, V, C, size, size) float32 in [0, 1].

    slices: (B, C, H, W) uint8. parameters: those of `draw_views` with a leading batch axis. What a turned crop needs
    from beyond the slice is mirrored from within, because voids would give the turn away (B3-12). Holes are 0 (B4-15).
    Order: intensities, crop with all geometry in one resampling, blur, noise, holes.
    """
    flat = {name: value.flatten(0, 1) for name, value in parameters.items()}
    b, v = parameters["table"].shape[:2]
    images = _look_up(slices, parameters["table"])
    grid = F.affine_grid(flat["matrix"], [b * v, 1, size, size], align_corners=False)
    images = F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    if ranges.blur_sigma[1] > 0:
        images = blur_slices(images, flat["blur"], radius=ranges.blur_radius)
    if ranges.noise_sd > 0:
        images = images + flat["noise"][:, None, None, None] * white_noise(flat["noise_place"], images.shape[1:])
    if ranges.holes[1]:
        images = images.masked_fill(_hole_mask(flat["holes"], size, ranges.hole_side), 0.0)
    return images.clamp(0.0, 1.0).view(b, v, *images.shape[1:])


def _look_up(slices: Tensor, table: Tensor) -> Tensor:
    """(B V, C, H, W) new intensities of (B, C, H, W) 8-bit slices by (B, V, 256) tables."""
    index = slices.flatten(1).long()[:, None].expand(-1, table.shape[1], -1)
    return torch.gather(table, 2, index).view(-1, *slices.shape[1:])


def _hole_mask(centres: Tensor, size: int, side: float) -> Tensor:
    """(N, 1, size, size) bool: in one of the squares of floor(side * size) pixels about (N, K, 2) centres y, x."""
    extent = int(side * size)
    first = torch.floor(centres * size) - extent // 2
    pixel = torch.arange(size, device=centres.device)
    inside = (pixel >= first[..., None]) & (pixel < first[..., None] + extent)  # (N, K, 2, size)
    mask = inside[:, 0, 0, :, None] & inside[:, 0, 1, None, :]
    for k in range(1, centres.shape[1]):
        mask = mask | (inside[:, k, 0, :, None] & inside[:, k, 1, None, :])
    return mask[:, None]
