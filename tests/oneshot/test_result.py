"""What a segmentation gives back."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from napari_medssl.oneshot import Segmentation
from napari_medssl.volume import Volume


def test_a_segmentation_cannot_be_changed_and_starts_with_an_empty_report(tiny_volume: Volume) -> None:
    labels = tiny_volume.like(np.zeros(tiny_volume.shape, np.uint8))
    first, second = Segmentation(labels, {}), Segmentation(labels, {})
    assert first.report == {}
    assert first.report is not second.report
    with pytest.raises(dataclasses.FrozenInstanceError):
        first.labels = labels  # type: ignore[misc]
