"""The geometry of puzzle patches: cut, move with mirrored borders, crop, put back."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

PATCHES = 9
"""Patches of a puzzle of a slice, 3 x 3."""


def cut_patches(slices: Tensor, *, grid: int = 3) -> Tensor:
    """(B, grid * grid, C, P, P) patches of square (B, C, H, H) slices in raster order (B3-02), P = H // grid.

    Rows and columns beyond grid * P, such as the last of 256, are not used (B3-16).
    """
    b, c, h, _ = slices.shape
    p = h // grid
    cells = slices[..., : grid * p, : grid * p].reshape(b, c, grid, p, grid, p)
    return cells.permute(0, 2, 4, 1, 3, 5).reshape(b, grid * grid, c, p, p)


def join_patches(patches: Tensor) -> Tensor:
    """(B, C, grid * P, grid * P) image of (B, grid * grid, C, P, P) patches in raster order."""
    b, count, c, p, _ = patches.shape
    grid = round(count**0.5)
    cells = patches.view(b, grid, grid, c, p, p).permute(0, 3, 1, 4, 2, 5)
    return cells.reshape(b, c, grid * p, grid * p)


def arrange(patches: Tensor, arrangements: Tensor) -> Tensor:
    """Patches (B, N, ...) in another order: slot k receives patch arrangements[:, k], (B, N) integers (B3-11)."""
    return patches[torch.arange(len(patches), device=patches.device)[:, None], arrangements]


def unjumble(patches: Tensor, arrangements: Tensor) -> Tensor:
    """Jumbled patches (B, N, ...) back in order; undoes `arrange`."""
    return arrange(patches, arrangements.argsort(1))


@dataclass(frozen=True)
class Moves:
    """Geometric changes of N images about their centres: enlarge, turn, then shift.

    rotation_deg, scale: (N,); a positive angle turns clockwise on the screen (y down). shift_px: (N, 2) along y, x.
    """

    rotation_deg: Tensor
    shift_px: Tensor
    scale: Tensor


def move(images: Tensor, moves: Moves, *, corner: Tensor, size: int, mirrored: bool = True) -> Tensor:
    """Windows of moved images, (N, C, size, size), in one resampling.

    images: (N, C, P, P) float32. corner: (N, 2) top left y, x of each window in pixels of the moved image. mirrored:
    what comes from beyond an image is mirrored from within; else it is 0, a void from which a network can read the
    move (B3-12).
    """
    extent = images.shape[-1]
    centre = (extent - 1) / 2
    pixel = torch.arange(size, device=images.device, dtype=torch.float32)
    y, x = (
        (pixel + corner[:, k, None] - moves.shift_px[:, k, None] - centre) / moves.scale[:, None] for k in (0, 1)
    )  # (N, size) each
    angle = torch.deg2rad(moves.rotation_deg)[:, None, None]
    cos, sin = torch.cos(angle), torch.sin(angle)
    rows, columns = y[:, :, None], x[:, None, :]
    from_y = cos * rows - sin * columns + centre
    from_x = sin * rows + cos * columns + centre
    grid = torch.stack([from_x, from_y], -1) * (2 / extent) + (1 / extent - 1)
    padding = "reflection" if mirrored else "zeros"
    return F.grid_sample(images, grid, mode="bilinear", padding_mode=padding, align_corners=False)
