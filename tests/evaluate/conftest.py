"""Small labelled scans in which an organ is a bright block, and the weights "none"."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_medssl.engine.device import policy_for
from napari_medssl.evaluate.candidate import Candidate
from napari_medssl.models.encoder import build_encoder
from napari_medssl.pretext.scan import Scan

SIZE = 32


def make_scan(n: int, *, depth: int = 10, group: str = "toy") -> Scan:
    """Person n: organ 1 on slices from 2 + n % 3 on, organ 2 on the first half; both leave some slices free."""
    rng = np.random.default_rng(n)
    labels = np.zeros((depth, SIZE, SIZE), np.uint8)
    labels[2 + n % 3 : 8, 4:16, 6:18] = 1
    labels[: depth // 2, 20:30, 18:28] = 2
    image = 40 + 150 * (labels == 1) + 90 * (labels == 2) + rng.normal(0, 6, labels.shape)
    return Scan(image.clip(0, 255).astype(np.uint8), labels, (5.0, 2.0, 2.0), f"scan_{n}.nii.gz", group, f"p{n}")


@pytest.fixture(scope="session")
def scans() -> list[Scan]:
    """Six people."""
    return [make_scan(n) for n in range(6)]


@pytest.fixture(scope="session")
def policy():
    """The CPU, a few slices at a time."""
    return policy_for(torch.device("cpu"))


@pytest.fixture(scope="session")
def candidate() -> Candidate:
    """A narrow residual encoder with fixed first weights."""
    config = {"in_slices": 1, "width": 8, "channels": 16, "input_size": SIZE}

    def build():
        return build_encoder("slice-resnet", **config)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        encoder = build().requires_grad_(False)
    return Candidate("toy", "slice-resnet", encoder, 2, SIZE, build, "0" * 64)
