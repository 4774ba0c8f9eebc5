"""Small feature grids with known structure, for the tests of this folder."""

from __future__ import annotations

from typing import Any

import numpy as np

from napari_medssl.dense.grid import FeatureGrid
from napari_medssl.volume import Volume

ENCODER: dict[str, Any] = {"name": "unet3d", "weights_sha256": "a" * 64, "stages": [4]}


def oblique(spacing: tuple[float, float, float] = (4.0, 2.0, 3.0), seed: int = 3) -> np.ndarray:
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    affine = np.eye(4)
    affine[:3, :3] = turn * spacing
    affine[:3, 3] = (10, -20, 30)
    return affine


def organs(shape: tuple[int, int, int] = (6, 10, 12)) -> np.ndarray:
    """(Z, Y, X) int: 0 outside, 1 a large block, 2 and 3 smaller ones in it."""
    labels = np.zeros(shape, np.int32)
    labels[:, 1:-1, 1:-1] = 1
    labels[1:-1, 2:5, 2:5] = 2
    labels[2:, 6:9, 6:10] = 3
    return labels


def organ_grid(
    shape: tuple[int, int, int] = (6, 10, 12),
    channels: int = 8,
    *,
    noise: float = 0.1,
    affine: np.ndarray | None = None,
    seed: int = 0,
    shift: float = 5.0,
    dtype: Any = np.float32,
) -> FeatureGrid:
    """Each organ has its own direction (the same for all seeds), plus a mean all share and noise of this seed."""
    means = np.random.default_rng(7).normal(size=(4, channels)) + shift
    data = means[organs(shape)].transpose(3, 0, 1, 2)
    data = data + noise * np.random.default_rng(seed).normal(size=data.shape)
    return FeatureGrid(data.astype(dtype), np.diag([4.0, 2, 2, 1]) if affine is None else affine, {}, dict(ENCODER))


def mask_on(grid: FeatureGrid, cells: np.ndarray) -> Volume:
    """Cells as a drawn mask whose voxels are the grid's cells."""
    return Volume(cells.astype(np.uint8), grid.affine)
