"""Random networks change brightness and leave shapes."""

from __future__ import annotations

import numpy as np
import torch

from napari_medssl.transforms.random_network import apply_random_network


def picture() -> torch.Tensor:
    """(3, 48, 48): air, a grey body and a bright organ."""
    slices = torch.zeros(3, 48, 48)
    slices[:, 6:42, 6:42], slices[:, 18:30, 18:30] = 0.4, 0.8
    return slices


def test_values_stay_in_the_unit_range_and_air_stays_dark() -> None:
    for seed in range(20):
        out = apply_random_network(picture(), np.random.default_rng(seed))
        assert out.shape == (3, 48, 48)
        assert torch.isfinite(out).all()
        assert 0 <= float(out.min()) <= float(out.max()) <= 1
        assert float(out[:, :3, :3].max()) <= 0.3001


def test_shapes_stay_where_they_are() -> None:
    """Far from borders a region is as even as before."""
    for seed in range(10):
        out = apply_random_network(picture(), np.random.default_rng(seed))
        assert float(out[:, 22:26, 22:26].std()) < 1e-4
        assert float(out[:, 10:13, 11:37].std()) < 1e-4


def test_contrasts_differ_and_some_are_inverted() -> None:
    differences = []
    for seed in range(40):
        out = apply_random_network(picture(), np.random.default_rng(seed))
        differences.append(float(out[0, 24, 24] - out[0, 11, 24]))
    assert np.std(differences) > 0.1
    assert min(differences) < -0.05 < 0.05 < max(differences)


def test_the_same_seed_gives_the_same_contrast() -> None:
    one, two = (apply_random_network(picture(), np.random.default_rng(4)) for _ in range(2))
    assert torch.equal(one, two)


def test_an_empty_slice_stays_finite() -> None:
    assert torch.isfinite(apply_random_network(torch.zeros(3, 16, 16), np.random.default_rng(0))).all()
