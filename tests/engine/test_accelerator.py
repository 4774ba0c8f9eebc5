"""The engine on a real accelerator, where there is one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from napari_medssl.engine import Engine
from napari_medssl.oneshot import SegmentSettings
from tests.engine.conftest import scan, support_of

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not (torch.cuda.is_available() or torch.backends.mps.is_available()), reason="this machine has no accelerator"
    ),
]


@pytest.mark.parametrize("weights_name", ["tiny", "none"])
def test_features_point_the_same_way_as_on_the_cpu(weights: Path, weights_name: str) -> None:
    chosen = weights if weights_name == "tiny" else "none"
    with Engine("auto", chosen) as there, Engine("cpu", chosen) as here:
        assert there.device.type != "cpu"
        found, expected = there.features(scan()).data.float(), here.features(scan()).data.float()
    assert found.device.type == "cpu"
    assert float(torch.cosine_similarity(found, expected, dim=1).min()) > 0.999


def test_organ_is_the_same_as_on_the_cpu(weights: Path) -> None:
    query, other = scan(), scan(1)
    settings = SegmentSettings(method="prototypes")
    masks = []
    for device in ("auto", "cpu"):
        with Engine(device, weights) as engine:
            masks.append(engine.segment(query, [support_of(other, 4, 5, 6)], settings=settings).labels.data > 0)
    assert np.mean(masks[0] != masks[1]) < 0.01
