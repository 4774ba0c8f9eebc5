"""Random appearances of a whole scan: as if another scanner, or another sequence, had taken it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_medssl.transforms.blur import blur_slices
from napari_medssl.transforms.smooth_map import smooth_map

_ALIKE = 0.025  # differences in brightness between organs that are alike


@dataclass(frozen=True)
class Appearance:
    """A random appearance: a curve from intensity to intensity, an offset per organ, field and noise strengths.

    curve: (knots,) values in [0, 1] at evenly spaced intensities. offsets: (256,) added per label value.
    field: (1, 1, n, n) multiplicative bias nodes. noise: standard deviation. blur: Gaussian sigma in pixels.
    """

    curve: np.ndarray
    offsets: np.ndarray
    field: Tensor
    noise: float
    blur: float


def draw_appearance(rng: np.random.Generator, *, strength: float = 1.0, knots: int = 7) -> Appearance:
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
    return Appearance(np.clip(curve, 0, 1.1), offsets, field, noise, blur)


def with_alike_organs(
    look: Appearance,
    image: npt.NDArray[np.float32],
    labels: npt.NDArray[np.uint8],
    organ: int,
    rng: np.random.Generator,
    *,
    share: float = 0.65,
) -> Appearance:
    """`look`, in which about `share` of the other organs are as bright as `organ` on average, before field and noise.

    In T2 MR spleen and kidneys are alike, in CT with contrast they are not: what divides organs must then be their
    shape and the line between them, and networks that only saw CT never had to look for it. Ours.

    image: any shape, in [0, 1], before the look. labels: of the same shape; they must hold the organ.
    """
    even = np.linspace(0, 1, len(look.curve))
    offsets = look.offsets.copy()

    def brightness(value: int) -> float:
        return float(np.interp(image[labels == value], even, look.curve).mean()) + float(look.offsets[value])

    aim = brightness(organ)
    for value in np.unique(labels):
        if value not in (0, organ) and rng.random() < share:
            offsets[value] += aim - brightness(int(value)) + rng.normal(0, _ALIKE)
    return replace(look, offsets=offsets)


def nearby_appearance(rng: np.random.Generator, look: Appearance, *, amount: float = 0.04) -> Appearance:
    """Another scan of the same protocol: the same appearance with small changes."""
    curve = look.curve + rng.normal(0, amount, look.curve.shape)
    curve[0] = look.curve[0]
    offsets = look.offsets + np.where(look.offsets != 0, rng.normal(0, amount, 256), 0)
    field = 1 + torch.tensor(rng.normal(0, 0.1, (1, 1, 4, 4)), dtype=torch.float32)
    return Appearance(np.clip(curve, 0, 1.1), offsets, field, float(abs(rng.normal(0, 0.03))), look.blur)


def apply_appearance(image: Tensor, labels: Tensor | None, look: Appearance, generator: torch.Generator) -> Tensor:
    """Give (C, H, W) slices in [0, 1] the appearance `look`; labels (C, H, W) integers pick the organ offsets."""
    curve = torch.tensor(look.curve, dtype=torch.float32)
    at = image.clamp(0, 1) * (len(curve) - 1)
    below = at.floor().long().clamp(max=len(curve) - 2)
    weight = at - below
    out = curve[below] * (1 - weight) + curve[below + 1] * weight
    if labels is not None:
        out = out + torch.tensor(look.offsets, dtype=torch.float32)[labels.long()]
    bias = smooth_map(look.field, (image.shape[-2], image.shape[-1]))[0]
    # Air stays air: noise and field act on tissue through the image's own brightness.
    out = out * bias + look.noise * torch.randn(image.shape, generator=generator)
    out = torch.where(image < 0.02, out * 0.3, out)
    if look.blur:
        out = blur_slices(out[None], torch.tensor([look.blur]), border="replicate")[0]
    return out.clamp(0, 1)
