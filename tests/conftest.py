"""Fixtures every test may use."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_medssl.volume import Volume

_SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture
def shared_data() -> Path:
    """The folder of real scans beside the checkout; the test is skipped when it is not there."""
    if not _SHARED_DATA.is_dir():
        pytest.skip("the real scans (../shared/data beside the checkout) are not here")
    return _SHARED_DATA


@pytest.fixture
def tiny_volume() -> Volume:
    """A noisy (6, 10, 12) axial volume with 3 x 1.5 x 1.5 mm voxels, radiological order (z up, y back, x left)."""
    rng = np.random.default_rng(0)
    affine = np.array([[0, 0, -1.5, 8.0], [0, -1.5, 0, 6.0], [3.0, 0, 0, -9.0], [0, 0, 0, 1]])
    return Volume(rng.normal(100, 20, (6, 10, 12)).astype(np.float32), affine)
