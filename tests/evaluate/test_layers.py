"""Layers of volume encoders: equal ones agree, whatever the rotation and the scale, and stages are means of grids."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_medssl.errors import SettingsError, WeightsError
from napari_medssl.evaluate.crops import CropSettings, as_trained, draw_crops, in_batches
from napari_medssl.evaluate.layers import layer_similarity, stage_means
from napari_medssl.metrics.cka import linear_cka
from napari_medssl.models.encoder3d import build_encoder3d
from napari_medssl.pretext.scan import Scan


def encoder(seed: int, width: float = 0.1):
    torch.manual_seed(seed)
    return build_encoder3d("unet3d", width=width).requires_grad_(False)


def scan(n: int, brightness: int = 0) -> Scan:
    rng = np.random.default_rng(n)
    image = np.clip(rng.integers(30, 200, (26, 30, 22)) + brightness, 0, 255).astype(np.uint8)
    return Scan(image, None, (2.0, 2.0, 2.0), f"s{n}.nii.gz", "toy", f"p{n}")


SETTINGS = CropSettings(count=10, crop_z=16, crop_y=16, crop_x=16, spacing_mm=2.0, batch=4)


@pytest.fixture(scope="module")
def crops() -> torch.Tensor:
    return draw_crops([scan(0), scan(1)], SETTINGS)


def test_crops_are_the_same_again_and_shared_by_the_scans(crops):
    assert crops.shape == (10, 16, 16, 16)
    assert torch.equal(crops, draw_crops([scan(0), scan(1)], SETTINGS))
    alone = draw_crops([scan(0)], CropSettings(count=5, crop_z=16, crop_y=16, crop_x=16))
    assert (alone[0] == crops[0]).all()
    assert [len(b) for b in in_batches(crops, 4)] == [4, 4, 2]
    assert [len(b) for b in in_batches(crops, 4, full=True)] == [4, 4]
    assert [len(b) for b in in_batches(crops, 16, full=True)] == [10]


def test_what_is_not_set_is_as_the_weights_were_trained():
    card = {"settings": {"crop_z": 24, "crop_y": 48, "crop_x": 40, "spacing_mm": 3.0}}
    found = as_trained(CropSettings(crop_x=16), card)
    assert (found.size, found.spacing_mm) == ((24, 48, 16), 3.0)
    assert as_trained(CropSettings(), {}).size == (32, 64, 64)
    with pytest.raises(SettingsError, match="multiples of 8"):
        as_trained(CropSettings(crop_z=12), {})
    with pytest.raises(SettingsError, match="no scan"):
        draw_crops([], SETTINGS)


def test_stages_are_means_over_their_grids(crops, policy):
    network = encoder(0)
    found = stage_means(network, crops, policy, batch=4)
    assert list(found) == ["stage 1", "stage 2", "stage 3", "stage 4"]
    grids = network.stages(crops[:, None].float() / 255)
    for values, grid in zip(found.values(), grids, strict=True):
        torch.testing.assert_close(values, grid.mean((2, 3, 4)))


def test_damaged_weights_are_named(crops, policy):
    network = encoder(0)
    network.blocks[2][0].weight.data.fill_(float("nan"))
    with pytest.raises(WeightsError, match="not numbers"):
        stage_means(network, crops, policy)


def test_an_encoder_is_like_itself_and_less_like_another(crops, policy):
    first, other = (stage_means(encoder(n, w), crops, policy) for n, w in ((0, 0.1), (5, 0.2)))
    same, apart = layer_similarity(first, first), layer_similarity(first, other, names=("a", "b"))
    np.testing.assert_allclose(same.same_stage(), 1, atol=1e-9)
    np.testing.assert_allclose(np.diag(same.debiased), 1, atol=1e-9)
    assert (apart.first, apart.second, apart.examples) == ("a", "b", 10)
    assert np.shape(apart.linear) == (4, 4)
    assert max(apart.same_stage()) < 1 - 1e-4
    assert apart.linear[1][2] == linear_cka(first["stage 2"], other["stage 3"])


def test_rotation_scale_and_shift_change_nothing():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(20, 6, generator=generator, dtype=torch.float64)
    turn, _ = torch.linalg.qr(torch.randn(6, 6, generator=generator, dtype=torch.float64))
    y = torch.randn(20, 9, generator=generator, dtype=torch.float64)
    plain = layer_similarity({"stage 1": x}, {"stage 1": y})
    moved = layer_similarity({"stage 1": 3 * x @ turn + 7}, {"stage 1": y})
    np.testing.assert_allclose(plain.linear, moved.linear, atol=1e-9)
    np.testing.assert_allclose(plain.debiased, moved.debiased, atol=1e-9)
    assert plain.debiased[0][0] < plain.linear[0][0], "few examples push the plain form towards 1"


def test_layers_without_a_value_and_too_few_inputs():
    x = torch.randn(5, 3)
    dead = layer_similarity({"stage 1": torch.ones(5, 3)}, {"stage 1": x})
    assert dead.linear == [[None]]
    with pytest.raises(SettingsError, match="same 4 inputs or more"):
        layer_similarity({"stage 1": x[:3]}, {"stage 1": x[:3]})
    with pytest.raises(SettingsError, match=r"got \[4, 5\]"):
        layer_similarity({"stage 1": x}, {"stage 1": x[:4]})
