"""Random geometry and appearance for training slices: draw the parameters first, apply them after."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


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
    bend = F.interpolate(warp.nodes, size=(size, size), mode="bicubic", align_corners=True)
    return grid + bend.permute(0, 2, 3, 1)


def apply_grid(maps: Tensor, grid: Tensor, *, nearest: bool = False) -> Tensor:
    """Sample (C, H, W) maps on a (1, h, w, 2) grid; outside is 0."""
    mode = "nearest" if nearest else "bilinear"
    return F.grid_sample(maps[None], grid, mode=mode, padding_mode="zeros", align_corners=False)[0]


@dataclass(frozen=True)
class Tone:
    """A random appearance: a curve from intensity to intensity, an offset per organ, field and noise strengths.

    curve: (knots,) values in [0, 1] at evenly spaced intensities. offsets: (256,) added per label value.
    field: (1, 1, n, n) multiplicative bias nodes. noise: standard deviation. blur: Gaussian sigma in pixels.
    """

    curve: np.ndarray
    offsets: np.ndarray
    field: Tensor
    noise: float
    blur: float


def draw_tone(rng: np.random.Generator, *, strength: float = 1.0, knots: int = 7) -> Tone:
    """Draw an appearance. At strength 1 a CT may come out looking like almost any MR contrast.

    Air stays dark: the first knot is kept near 0, because the body outline is what position is measured by.
    """
    even = np.linspace(0, 1, knots)
    kind = rng.random()
    if kind < 0.45:
        curve = even ** np.exp(rng.normal(0, 0.35)) + rng.normal(0, 0.06, knots) * strength
    elif kind < 0.8:
        curve = 0.5 * even + 0.5 * rng.random(knots)
    else:
        curve = 1.05 - 0.9 * even + rng.normal(0, 0.1, knots)
    curve[0] = abs(rng.normal(0, 0.01))
    offsets = np.zeros(256)
    if rng.random() < 0.6:
        offsets[1:] = rng.normal(0, 0.14 * strength, 255)
    field = 1 + torch.tensor(rng.normal(0, 0.12 * strength, (1, 1, 4, 4)), dtype=torch.float32)
    noise = float(abs(rng.normal(0, 0.03)))
    blur = float(rng.uniform(0.4, 0.9)) if rng.random() < 0.25 else 0.0
    return Tone(np.clip(curve, 0, 1.1), offsets, field, noise, blur)


def nearby_tone(rng: np.random.Generator, tone: Tone, *, amount: float = 0.04) -> Tone:
    """Another scan of the same protocol: the same appearance with small changes."""
    curve = tone.curve + rng.normal(0, amount, tone.curve.shape)
    curve[0] = tone.curve[0]
    offsets = tone.offsets + np.where(tone.offsets != 0, rng.normal(0, amount, 256), 0)
    field = 1 + torch.tensor(rng.normal(0, 0.1, (1, 1, 4, 4)), dtype=torch.float32)
    return Tone(np.clip(curve, 0, 1.1), offsets, field, float(abs(rng.normal(0, 0.03))), tone.blur)


def apply_tone(image: Tensor, labels: Tensor | None, tone: Tone, generator: torch.Generator) -> Tensor:
    """Give (C, H, W) slices in [0, 1] the appearance `tone`; labels (C, H, W) integers pick the organ offsets."""
    curve = torch.tensor(tone.curve, dtype=torch.float32)
    at = image.clamp(0, 1) * (len(curve) - 1)
    below = at.floor().long().clamp(max=len(curve) - 2)
    weight = at - below
    out = curve[below] * (1 - weight) + curve[below + 1] * weight
    if labels is not None:
        out = out + torch.tensor(tone.offsets, dtype=torch.float32)[labels.long()]
    bias = F.interpolate(tone.field, size=image.shape[-2:], mode="bicubic", align_corners=True)[0]
    # Air stays air: noise and field act on tissue through the image's own brightness.
    out = out * bias + tone.noise * torch.randn(image.shape, generator=generator)
    out = torch.where(image < 0.02, out * 0.3, out)
    if tone.blur:
        out = _blur(out, tone.blur)
    return out.clamp(0, 1)


def _blur(image: Tensor, sigma: float) -> Tensor:
    reach = torch.arange(-2, 3, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (reach / sigma) ** 2)
    kernel = kernel / kernel.sum()
    x = image[:, None]
    x = F.conv2d(F.pad(x, (2, 2, 0, 0), mode="replicate"), kernel.view(1, 1, 1, 5))
    return F.conv2d(F.pad(x, (0, 0, 2, 2), mode="replicate"), kernel.view(1, 1, 5, 1))[:, 0]
