"""The features of a volume."""

from __future__ import annotations

import pytest
import torch

from napari_medssl.models.features import FeatureStack, SliceFrame

FRAME = SliceFrame((10, 10), (32, 32), (0, 0), 32)


@pytest.mark.parametrize(("dtype", "width"), [(torch.float16, 2), (torch.float32, 4)])
def test_the_memory_of_features_is_counted_in_bytes(dtype: torch.dtype, width: int) -> None:
    assert FeatureStack(torch.zeros(3, 5, 8, 8, dtype=dtype), FRAME, 4).nbytes == 3 * 5 * 8 * 8 * width


def test_frames_compare_by_value() -> None:
    assert SliceFrame((10, 10), (32, 32), (0, 0), 32) == FRAME
    assert hash(SliceFrame((10, 10), (32, 32), (0, 0), 32)) == hash(FRAME)
