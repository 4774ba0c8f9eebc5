"""An intensity window: checked, applied, and suggested."""

from __future__ import annotations

import numpy as np

from napari_medssl.errors import SettingsError

_MIDDLE = (5.0, 95.0)  # percentiles of the window we suggest
_SAMPLE = 200_000  # voxels looked at for it


def inside_window(image: np.ndarray, low: float, high: float) -> np.ndarray:
    """Where low <= image <= high; voxels that are not numbers lie outside."""
    return np.asarray((image >= low) & (image <= high))


def suggested_window(image: np.ndarray, mask: np.ndarray) -> tuple[float, float] | None:
    """The middle 90 % of the intensities under a mask (a regular sample of a large one); None when it has none."""
    values = np.asarray(image[mask])
    values = values[:: max(1, len(values) // _SAMPLE)]
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    low, high = (float(v) for v in np.percentile(values, _MIDDLE))
    return low, high


def check_window(low: float, high: float, image: np.ndarray, mask: np.ndarray, *, organ: int) -> None:
    """Raise SettingsError, with a window that would do, when low is not below high."""
    if low < high:
        return
    found = suggested_window(image, mask)
    advice = "" if found is None else f"; the middle 90 % of organ {organ} has low={found[0]:.4g} high={found[1]:.4g}"
    raise SettingsError(f"the intensity window low={low:g} high={high:g} is empty; give low below high{advice}")
