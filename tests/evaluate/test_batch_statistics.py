"""Batch statistics collected anew are numpy's means and variances of what reaches each layer."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_medssl.errors import SettingsError
from napari_medssl.evaluate.batch_statistics import group_distances_steps, recollect_on, recollect_on_steps
from napari_medssl.models.encoder3d import build_encoder3d
from napari_medssl.progress import finish


def crops(n: int, *, low: int = 20, high: int = 120) -> torch.Tensor:
    values = np.random.default_rng(n).integers(low, high, (8, 8, 16, 8)).astype(np.uint8)
    return torch.from_numpy(values)


@pytest.fixture
def encoder():
    torch.manual_seed(3)
    return build_encoder3d("unet3d", width=0.07).requires_grad_(False)


def test_the_first_layer_has_the_moments_of_its_convolution(encoder, policy):
    images = crops(0)
    found = recollect_on(encoder, images, policy, batch=8)
    convolved = encoder.blocks[0][0](images[:, None].float() / 255).numpy()  # (B, C, Z, Y, X)
    mean, variance = found.statistics["blocks.0.1"]
    np.testing.assert_allclose(mean, convolved.mean((0, 2, 3, 4)), atol=1e-5)
    np.testing.assert_allclose(variance, convolved.var((0, 2, 3, 4), ddof=1), rtol=1e-3)
    assert found.crops == 8
    before = torch.cat([torch.zeros_like(m) - m for m, _ in [found.statistics["blocks.0.1"]]])
    term = float(before.square().sum() + (1 - variance).square().sum())  # the encoder came with means 0, variances 1
    assert found.layers["blocks.0.1"] == pytest.approx(term, rel=1e-5)
    assert found.distance == pytest.approx(sum(found.layers.values()))


def test_the_encoder_given_stays_and_the_copy_differs_in_statistics_alone(encoder, policy):
    before = {k: v.clone() for k, v in encoder.state_dict().items()}
    found = recollect_on(encoder, crops(0), policy, batch=4)
    assert all(torch.equal(v, before[k]) for k, v in encoder.state_dict().items())
    changed = {k.rsplit(".", 1)[1] for k, v in found.encoder.state_dict().items() if not torch.equal(v, before[k])}
    assert changed == {"running_mean", "running_var", "num_batches_tracked"}
    assert not found.encoder.training
    again = recollect_on(found.encoder, crops(0), policy, batch=4)
    assert again.distance == pytest.approx(0, abs=1e-8)


def test_closing_leaves_the_encoder_as_it_was(encoder, policy):
    before = {k: v.clone() for k, v in encoder.state_dict().items()}
    steps = recollect_on_steps(encoder, crops(0), policy, batch=2)
    assert next(steps).total == 4
    next(steps)
    assert torch.is_grad_enabled()
    steps.close()
    assert all(torch.equal(v, before[k]) for k, v in encoder.state_dict().items())


def test_groups_that_are_alike_lie_near_the_mixture(encoder, policy):
    alike = {"a": crops(0), "b": crops(1)}
    apart = {"a": crops(0), "b": crops(1, low=180, high=250)}
    near, far = (finish(group_distances_steps(encoder, g, policy)) for g in (alike, apart))
    assert set(near) == {"a", "b"}
    assert far["b"] > 10 * near["b"]


def test_what_keeps_no_statistics_is_refused(encoder, policy):
    grouped = build_encoder3d("unet3d", width=0.07, norm="group")
    with pytest.raises(SettingsError, match="no batch normalisation"):
        recollect_on(grouped, crops(0), policy)
    with pytest.raises(SettingsError, match="1 crop has no statistics"):
        recollect_on(encoder, crops(0)[:1], policy)
