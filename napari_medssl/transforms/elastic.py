"""Random smooth displacements of a slice (Simard et al., 2003)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage


@dataclass(frozen=True)
class ElasticRange:
    """alpha: factor on the smoothed noise. sigma: of the smoothing, in pixels.

    With the defaults (the authors' public code) a displacement has a standard deviation of about a third of a pixel.
    """

    alpha: float = 10.0
    sigma: float = 5.0


def draw_elastic(
    rng: np.random.Generator, size: tuple[int, int], limits: ElasticRange | None = None
) -> npt.NDArray[np.float32]:
    """(2, H, W) displacements along y and x in pixels: uniform noise in [-1, 1], smoothed, times alpha."""
    limits = limits or ElasticRange()
    noise = rng.uniform(-1.0, 1.0, (2, *size)).astype(np.float32)
    smooth = [ndimage.gaussian_filter(field, limits.sigma, mode="constant") for field in noise]
    return np.stack(smooth) * np.float32(limits.alpha)
