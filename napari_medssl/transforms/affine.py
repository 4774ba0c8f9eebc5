"""Random rotation, shift, shear and scaling of a slice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class AffineRange:
    """Largest amounts, drawn uniformly. The defaults are those of the authors' public code; no flips."""

    rotation_deg: float = 5.0
    shift_px: float = 5.0
    shear_deg: float = 5.0
    scale_low: float = 0.9
    scale_high: float = 1.2


@dataclass(frozen=True)
class Affine:
    """One drawn map about the slice's centre: scale, then shear along x, then rotation, then shift.

    shift_px: along y, x. scale above 1 enlarges what is seen.
    """

    rotation_deg: float
    shift_px: tuple[float, float]
    shear_deg: float
    scale: float


def draw_affine(rng: np.random.Generator, limits: AffineRange | None = None) -> Affine:
    """Draw an affine map."""
    limits = limits or AffineRange()

    def within(amount: float) -> float:
        return float(rng.uniform(-amount, amount))

    return Affine(
        rotation_deg=within(limits.rotation_deg),
        shift_px=(within(limits.shift_px), within(limits.shift_px)),
        shear_deg=within(limits.shear_deg),
        scale=float(rng.uniform(limits.scale_low, limits.scale_high)),
    )


def affine_sources(affine: Affine, size: tuple[int, int], *, device: torch.device | str = "cpu") -> Tensor:
    """Where each output pixel comes from: (2, H, W) float32 positions y, x in pixels of the input."""
    angle, shear = np.deg2rad(affine.rotation_deg), np.tan(np.deg2rad(affine.shear_deg))
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])  # of (y, x)
    forward = turn @ np.array([[1.0, 0.0], [shear, 1.0]]) * affine.scale
    back = torch.tensor(np.linalg.inv(forward), dtype=torch.float32, device=device)
    centre = torch.tensor([(n - 1) / 2 for n in size], device=device).view(2, 1, 1)
    shift = torch.tensor(affine.shift_px, device=device).view(2, 1, 1)
    rows, columns = (torch.arange(n, dtype=torch.float32, device=device) for n in size)
    pixels = torch.stack(torch.meshgrid(rows, columns, indexing="ij"))
    return torch.einsum("ij,jhw->ihw", back, pixels - centre - shift) + centre
