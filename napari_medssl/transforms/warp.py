"""Smooth random deformations of the square, and sampling slices where they say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_medssl.transforms.smooth_map import smooth_map


@dataclass(frozen=True)
class Warp:
    """A smooth random deformation of the square: affine part and elastic displacements.

    matrix: (2, 3) for `affine_grid`. nodes: (1, 2, n, n) displacements in units of half the square.
    """

    matrix: Tensor
    nodes: Tensor


def draw_warp(
    rng: np.random.Generator,
    *,
    rotation_deg: float = 12.0,
    scale: float = 0.18,
    shift: float = 0.08,
    shear: float = 0.08,
    elastic: float = 0.025,
    nodes: int = 6,
) -> Warp:
    """Draw a warp; the arguments are the largest (uniform) or standard (elastic) amounts."""
    angle = np.deg2rad(rng.uniform(-rotation_deg, rotation_deg))
    zoom = np.exp(rng.uniform(-scale, scale, 2) * 0.35 + rng.uniform(-scale, scale))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    skew = np.array([[1.0, rng.uniform(-shear, shear)], [rng.uniform(-shear, shear), 1.0]])
    matrix = np.concatenate([turn @ skew @ np.diag(zoom), rng.uniform(-shift, shift, (2, 1))], 1)
    displacement = rng.normal(0, elastic, (1, 2, nodes, nodes))
    return Warp(torch.tensor(matrix, dtype=torch.float32), torch.tensor(displacement, dtype=torch.float32))


def warp_grid(warp: Warp, size: int) -> Tensor:
    """(1, size, size, 2) sampling grid of a warp."""
    grid = F.affine_grid(warp.matrix[None], [1, 1, size, size], align_corners=False)
    bend = smooth_map(warp.nodes, (size, size))
    return grid + bend.permute(0, 2, 3, 1)


def sample(maps: Tensor, grid: Tensor, *, nearest: bool = False) -> Tensor:
    """Sample (C, H, W) maps on a (1, h, w, 2) grid; outside is 0."""
    mode = "nearest" if nearest else "bilinear"
    return F.grid_sample(maps[None], grid, mode=mode, padding_mode="zeros", align_corners=False)[0]
