"""A random change of contrast: intensities to a power."""

from __future__ import annotations

import numpy as np
from torch import Tensor


def draw_gamma(rng: np.random.Generator, *, low: float = 0.5, high: float = 1.5) -> float:
    """Draw an exponent, uniform between `low` and `high` (defaults of the authors' public code)."""
    return float(rng.uniform(low, high))


def apply_gamma(image: Tensor, gamma: float) -> Tensor:
    """Intensities in [0, 1] to the power `gamma`; 0 and 1 stay where they are."""
    return image.clamp(0.0, 1.0) ** gamma
