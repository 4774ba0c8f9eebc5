"""Random flips, turns and scaling of volumes about their centre: drawn one by one, applied to a whole batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class VolumeAffineRange:
    """What may happen to a volume, and how probable it is; amounts are drawn uniformly.

    flip: probability of a flip, for each axis. quarter_turn: probability of a turn by 90, 180 or 270 degrees about z
    (the plane of the slices, which is square in most crops). rotation: probability of turns by up to `rotation_deg`
    about z, y and x. scale: probability of a scaling between the two factors; above 1 things get larger.
    """

    flip: float = 0.0
    quarter_turn: float = 0.0
    rotation: float = 0.0
    rotation_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
    scale: float = 0.0
    scale_low: float = 1.0
    scale_high: float = 1.0


def draw_volume_affine(rng: np.random.Generator, limits: VolumeAffineRange) -> npt.NDArray[np.float32]:
    """(3, 3) matrix from a place in the output to its place in the input: z, y, x in voxels from the centre."""
    signs = np.where(rng.random(3) < limits.flip, -1.0, 1.0)
    forward = np.diag(signs)
    if rng.random() < limits.quarter_turn:
        forward = _turn(0, 90.0 * int(rng.integers(1, 4))) @ forward
    if rng.random() < limits.rotation:
        for axis, most in enumerate(limits.rotation_deg):
            forward = _turn(axis, float(rng.uniform(-most, most))) @ forward
    if rng.random() < limits.scale:
        forward = forward * rng.uniform(limits.scale_low, limits.scale_high)
    return np.linalg.inv(forward).astype(np.float32)


def apply_volume_affine(volumes: Tensor, matrices: Tensor, *, nearest: bool = False) -> Tensor:
    """(B, C, Z, Y, X) volumes resampled by (B, 3, 3) matrices of `draw_volume_affine`.

    nearest: for label maps; trilinear otherwise. Voxels are taken as cubes. What comes from outside the volume is its
    mirror image, so that no black corner tells how a volume was turned.
    """
    half = volumes.new_tensor([n / 2 for n in volumes.shape[2:]])
    unit = matrices.to(volumes.dtype) * half / half[:, None]  # (B, 3, 3) between coordinates in [-1, 1]
    grid = _grid(unit.flip(1), volumes.shape[2:])  # grid_sample wants x, y, z
    # Folded here, in half the time of grid_sample's own reflection; further out than one fold the border repeats.
    grid = 2 * grid.clamp(-1, 1) - grid
    mode: Literal["nearest", "bilinear"] = "nearest" if nearest else "bilinear"
    return F.grid_sample(volumes, grid, mode=mode, padding_mode="border", align_corners=False)


def _grid(matrices: Tensor, size: Sequence[int]) -> Tensor:
    """(B, Z, Y, X, 3): each voxel's z, y, x in [-1, 1] under (B, 3, 3) matrices; a sum of three lines.

    F.affine_grid multiplies matrices for every voxel, which costs half as much as the sampling.
    """
    lines = [(2 * torch.arange(n, device=matrices.device, dtype=matrices.dtype) + 1) / n - 1 for n in size]
    z, y, x = (line[None, :, None] * matrices[:, None, :, i] for i, line in enumerate(lines))  # (B, n, 3)
    return z[:, :, None, None] + y[:, None, :, None] + x[:, None, None]


def _turn(axis: int, degrees: float) -> npt.NDArray[np.float64]:
    """Turn about z (0), y (1) or x (2), exact for quarter turns."""
    quarters, rest = divmod(degrees, 90.0)
    if rest == 0:
        cos, sin = ((1, 0), (0, 1), (-1, 0), (0, -1))[int(quarters) % 4]
    else:
        cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    a, b = (i for i in range(3) if i != axis)
    turn = np.eye(3)
    turn[a, a], turn[a, b], turn[b, a], turn[b, b] = cos, -sin, sin, cos
    return turn
