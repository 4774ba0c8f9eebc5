"""A guided propagator starts where the plain one stopped."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from napari_medssl.errors import SettingsError, WeightsError
from napari_medssl.models.bundle import Bundle, file_sha256, module_bundle, save_bundle
from napari_medssl.models.encoder import build_encoder
from napari_medssl.models.propagator import CHANNELS, build_propagator
from napari_medssl.train.methods.guided_propagation import SMALL, build

OPTIONS = {"features": (8, 8, 8, 8, 8, 8), "crop_size": 32}


def test_it_starts_as_the_first_network_and_is_blind_to_the_guide(tmp_path: Path) -> None:
    torch.manual_seed(3)
    first = build_propagator("crop-unet", **OPTIONS)
    path = tmp_path / "first.safetensors"
    save_bundle(path, module_bundle("propagator", "crop-unet", first, {}))
    recipe = build(dataclasses.replace(SMALL, first=str(path)))
    network = recipe.objective.encoder.eval()
    assert network.guided
    assert network.crop_size == 32
    assert recipe.facts == {"starts_from": file_sha256(path)}
    inputs = torch.randn(2, CHANNELS + 3, 32, 32)
    torch.testing.assert_close(network(inputs), first(inputs[:, :CHANNELS]))


def test_a_guided_start_keeps_its_guide(tmp_path: Path) -> None:
    first = build_propagator("crop-unet", **OPTIONS, guided=True)
    path = tmp_path / "first.safetensors"
    save_bundle(path, module_bundle("propagator", "crop-unet", first, {}))
    network = build(dataclasses.replace(SMALL, first=str(path))).objective.encoder.eval()
    inputs = torch.randn(1, CHANNELS + 3, 32, 32)
    torch.testing.assert_close(network(inputs), first(inputs))


def test_a_reviser_goes_on_from_where_it_was(tmp_path: Path) -> None:
    first = build_propagator("crop-unet", **OPTIONS)
    reviser = build_propagator("crop-unet", **OPTIONS, guided=True)
    both = [module_bundle("propagator", "crop-unet", first, {}), module_bundle("reviser", "crop-unet", reviser, {})]
    path = tmp_path / "both.safetensors"
    save_bundle(path, Bundle({k: v for b in both for k, v in b.modules.items()}, both[0].tensors | both[1].tensors))
    network = build(dataclasses.replace(SMALL, first=str(path))).objective.encoder.eval()
    inputs = torch.randn(1, CHANNELS + 3, 32, 32)
    torch.testing.assert_close(network(inputs), reviser(inputs))


def test_weights_without_a_propagator_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "encoder.safetensors"
    save_bundle(path, module_bundle("encoder", "feature-bank", build_encoder("feature-bank", input_size=64), {}))
    with pytest.raises(WeightsError, match="holds no propagator"):
        build(dataclasses.replace(SMALL, first=str(path)))


def test_options_that_do_not_fit_are_named() -> None:
    with pytest.raises(SettingsError, match="do not fit crop-unet"):
        build(dataclasses.replace(SMALL, propagator_options='{"colour": 3}'))
