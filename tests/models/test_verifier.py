"""The network that judges blobs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_medssl.errors import SettingsError
from napari_medssl.models.verifier import build_verifier


def test_chances_are_the_members_mean_and_rows_are_judged_alone() -> None:
    torch.manual_seed(0)
    network = build_verifier("blob-judge", features=5, hidden=7)
    numbers = np.random.default_rng(0).normal(size=(4, 5))
    chance = network.judge(numbers)
    logits = network(torch.tensor(numbers, dtype=torch.float32))
    np.testing.assert_allclose(chance, torch.sigmoid(logits).mean(-1).detach().numpy(), atol=1e-6)
    np.testing.assert_allclose(network.judge(numbers[1:2]), chance[1:2], atol=1e-6)
    assert network(torch.zeros(2, 3, 5)).shape == (2, 3, 8)


def test_scale_of_the_numbers_is_learned_with_the_weights() -> None:
    torch.manual_seed(0)
    network = build_verifier("blob-judge", features=5, hidden=7).train()
    numbers = 100 + 20 * torch.randn(512, 5)
    for _ in range(500):
        network(numbers)
    again = build_verifier("blob-judge", **network.config)
    again.load_state_dict(network.state_dict())
    mean = again.standardise.mean
    assert torch.allclose(mean, torch.full((5,), 100.0), atol=3)


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(SettingsError, match="blob-judge"):
        build_verifier("nothing")
