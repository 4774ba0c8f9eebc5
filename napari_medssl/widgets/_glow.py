"""Colour maps for fields over a scan: nothing hides it, and bright organs do not swallow them."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from napari.utils import Colormap
from napari.utils.colormaps import ensure_colormap

_STEPS = 64
_START = 0.25  # of inferno: below it is too dark to be seen over a scan
_SOLID = 0.85  # the scan's edges still show through the brightest place


@lru_cache(maxsize=1)
def glow() -> Colormap:
    """Inferno that grows from transparent to nearly solid; meant for the blending "translucent"."""
    share = np.linspace(0.0, 1.0, _STEPS)
    colors = ensure_colormap("inferno").map(_START + (1.0 - _START) * share)
    colors[:, 3] = _SOLID * share**0.6
    return Colormap(colors, name="medssl glow")


@lru_cache(maxsize=1)
def clear_below() -> Colormap:
    """Viridis; what lies below its range, such as the air, is transparent."""
    colors = ensure_colormap("viridis").map(np.linspace(0.0, 1.0, _STEPS))
    colors[0, 3] = 0.0
    return Colormap(colors, name="medssl viridis")
