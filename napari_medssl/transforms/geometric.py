"""A random change of shape: affine, then elastic, in one resampling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_medssl.transforms.affine import Affine, AffineRange, affine_sources, draw_affine
from napari_medssl.transforms.elastic import ElasticRange, draw_elastic
from napari_medssl.transforms.warp import sample


@dataclass(frozen=True)
class Geometric:
    """One drawn change of shape for slices of (H, W) pixels; elastic: (2, H, W) displacements in pixels."""

    affine: Affine
    elastic: npt.NDArray[np.float32]


def draw_geometric(
    rng: np.random.Generator,
    size: tuple[int, int],
    affine: AffineRange | None = None,
    elastic: ElasticRange | None = None,
) -> Geometric:
    """Draw a change of shape for slices of `size` (H, W)."""
    return Geometric(draw_affine(rng, affine), draw_elastic(rng, size, elastic))


def apply_geometric(maps: Tensor, parameters: Geometric, *, nearest: bool = False) -> Tensor:
    """Change the shape of (C, H, W) slices; what comes from outside the slice is 0.

    nearest: for masks and label maps; bilinear otherwise. Both maps are sampled at once, where the authors' code
    samples twice: the image is blurred less.
    """
    h, w = maps.shape[-2:]
    sources = affine_sources(parameters.affine, (h, w), device=maps.device)
    bend = torch.from_numpy(parameters.elastic).to(maps.device)
    # The affine part is so near the identity that its effect on a displacement of a third of a pixel is left out.
    y, x = sources + bend
    grid = torch.stack([(2 * x + 1) / w - 1, (2 * y + 1) / h - 1], -1)[None]
    return sample(maps, grid, nearest=nearest)
