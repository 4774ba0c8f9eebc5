"""Intensity windows: which values of a scan become black and white, by modality."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from napari_medssl.errors import SettingsError
from napari_medssl.settings import setting
from napari_medssl.volume import Modality, Volume

WindowName = Literal["auto", "percentile", "soft-tissue", "liver", "lung", "bone", "full"]

# Hounsfield limits. "liver" is the +-200 HU window of abdominal CT work, "lung" the full air-to-bone range of
# requirement F-003; "soft-tissue" and "bone" are the usual display windows (centre 40 / width 400, 400 / 1800).
CT_WINDOWS: dict[str, tuple[float, float]] = {
    "soft-tissue": (-160.0, 240.0),
    "liver": (-200.0, 200.0),
    "lung": (-1000.0, 1000.0),
    "bone": (-500.0, 1300.0),
}

_SAMPLE = 2_000_000  # voxels looked at for percentiles: exact below this, a regular subsample above


@dataclass(frozen=True)
class IntensitySettings:
    """How intensities are brought to [0, 1]."""

    window: WindowName = setting("auto", "which intensities become black and white; auto: by modality")
    low_percentile: float = setting(0.5, "percentile that becomes black (MR)", ge=0, le=50, advanced=True)
    high_percentile: float = setting(99.5, "percentile that becomes white (MR)", ge=50, le=100, advanced=True)


def guess_modality(data: np.ndarray) -> Modality:
    """ "CT" when the values look like Hounsfield units (air near -1000 below tissue near 0), else "MR".

    A CT already windowed to 8 bits cannot be told from MR and is treated as MR, which only means that percentiles
    instead of a fixed window are used.
    """
    values = _sample(data)
    return "CT" if values.size and values.min() <= -500 and -200 < np.percentile(values, 95) < 2000 else "MR"


def window_limits(volume: Volume, settings: IntensitySettings = IntensitySettings()) -> tuple[float, float]:
    """The (low, high) intensities that become 0 and 1.

    Non-finite voxels are ignored. A constant volume gives limits one unit apart, so nothing divides by zero.

    Raises SettingsError when a Hounsfield window is asked for a volume known to be MR.
    """
    name = settings.window
    if name in CT_WINDOWS and volume.modality == "MR":
        raise SettingsError(f"window {name!r} is in Hounsfield units but the scan is MR; use 'percentile' or 'auto'")
    if name == "auto":
        modality = volume.modality if volume.modality != "auto" else guess_modality(volume.data)
        name = "soft-tissue" if modality == "CT" and _is_hounsfield(volume.data) else "percentile"
    if name in CT_WINDOWS:
        return CT_WINDOWS[name]
    values = _sample(volume.data)
    if not values.size:
        return 0.0, 1.0
    if name == "full":
        low, high = float(values.min()), float(values.max())
    else:
        low, high = (float(v) for v in np.percentile(values, [settings.low_percentile, settings.high_percentile]))
        if high <= low:  # mostly constant: percentiles coincide although the range does not
            low, high = float(values.min()), float(values.max())
    return (low, high) if high > low else (low, low + 1.0)


def to_unit(data: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    """`data` as float32 with `limits` at 0 and 1, clipped; non-finite voxels become 0."""
    low, high = limits
    unit = data.astype(np.float32)
    unit -= low
    unit /= high - low
    np.nan_to_num(unit, copy=False, nan=0.0, posinf=1.0, neginf=0.0)
    return np.clip(unit, 0.0, 1.0, out=unit)


def _is_hounsfield(data: np.ndarray) -> bool:
    # A CT whose values were windowed to bytes keeps its modality but not its units.
    values = _sample(data)
    return bool(values.size) and float(values.min()) < -50


def _sample(data: np.ndarray) -> np.ndarray:
    step = max(1, int(np.ceil((data.size / _SAMPLE) ** (1 / 3))))
    values = data[::step, ::step, ::step].ravel()
    return values[np.isfinite(values)] if values.dtype.kind == "f" else values
