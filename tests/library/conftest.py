"""Small scans whose organ is a bright ball, labelled on some slices."""

from __future__ import annotations

import numpy as np
import pytest

from napari_medssl.labels import Label
from napari_medssl.library import Library
from napari_medssl.oneshot.support import Support
from napari_medssl.volume import Volume

AFFINE = np.array([[0, 0, -1.5, 8.0], [0, -1.5, 0, 6.0], [3.0, 0, 0, -9.0], [0, 0, 0, 1]])
LIVER, SPLEEN = Label(1, "liver", (200, 20, 30)), Label(2, "spleen", (20, 30, 200))


def scan(seed: int = 0, *, bright: float = 120.0, shape: tuple[int, int, int] = (12, 24, 28)) -> Volume:
    """A noisy MR with a bright ball of radius 6 pixels in the middle and a smaller one beside it, whole numbers."""
    rng = np.random.default_rng(seed)
    data = rng.normal(100, 10, shape)
    data[labels(shape) > 0] += bright
    return Volume(np.rint(data).astype(np.float32), AFFINE, "MR")


def labels(shape: tuple[int, int, int] = (12, 24, 28)) -> np.ndarray:
    """Liver 1 and spleen 2 on every slice they lie on."""
    z, y, x = np.ogrid[: shape[0], : shape[1], : shape[2]]
    ball = ((z - shape[0] / 2) * 2) ** 2 + (y - 12) ** 2 + (x - 16) ** 2
    small = ((z - shape[0] / 2) * 2) ** 2 + (y - 6) ** 2 + (x - 5) ** 2
    return np.where(ball <= 36, 1, np.where(small <= 16, 2, 0)).astype(np.uint8)


def support(volume: Volume, *slices: int, organs: tuple[Label, ...] = (LIVER, SPLEEN)) -> Support:
    """Some slices of the organs."""
    mask = np.zeros(volume.shape, np.uint8)
    for z in slices:
        mask[z] = labels(volume.shape)[z]
    mask[~np.isin(mask, [o.value for o in organs])] = 0
    return Support(volume, mask, organs)


@pytest.fixture
def library() -> Library:
    """Liver and spleen of two scans, each on slices 5 to 7."""
    made = Library()
    for seed in (0, 1):
        made = made.add(support(scan(seed), 5, 6, 7), note=f"scan {seed}", licence="CC0-1.0", scanner="1.5 T")
    return made
