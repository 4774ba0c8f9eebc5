"""Gaussian smoothing over a distance in millimetres."""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage

from napari_medssl.edit.slabs import slabs
from napari_medssl.progress import Progress, Steps

_TRUNCATE = 4.0  # standard deviations the kernel reaches, as SciPy has it
_LEAST_VOXELS = 0.15  # below this the kernel is one voxel wide anyway: its neighbours would weigh under 1e-9


def sigma_voxels(sigma_mm: float, spacing_mm: tuple[float, float, float]) -> tuple[float, float, float]:
    """Standard deviation along Z, Y, X in voxels, 0 where it is too small to matter."""
    z, y, x = (sigma_mm / step if sigma_mm / step > _LEAST_VOXELS else 0.0 for step in spacing_mm)
    return z, y, x


def smoothed(array: np.ndarray, sigma_mm: float, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """(Z, Y, X) `array` smoothed with `sigma_mm` along each axis, as float32; its border is a mirror."""
    sigma = sigma_voxels(sigma_mm, spacing_mm)
    return np.asarray(ndimage.gaussian_filter(array, sigma, output=np.float32, mode="reflect", truncate=_TRUNCATE))


def smoothed_steps(array: np.ndarray, sigma_mm: float, spacing_mm: tuple[float, float, float]) -> Steps[np.ndarray]:
    """`smoothed` in slabs of slices, with the same result."""
    margin = math.floor(_TRUNCATE * sigma_voxels(sigma_mm, spacing_mm)[0] + 0.5)
    made = np.empty(array.shape, np.float32)
    for inner, outer in slabs(array.shape, margin):
        yield Progress(inner.start, len(array), "smoothing")
        near = smoothed(array[outer].astype(np.float32), sigma_mm, spacing_mm)
        made[inner] = near[inner.start - outer.start :][: inner.stop - inner.start]
    return made
