"""Slice encoders from settings: built as asked, started from the weights given, refused with a reason."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from napari_medssl.errors import SettingsError, WeightsError
from napari_medssl.models.bundle import module_bundle, save_bundle
from napari_medssl.models.encoder import build_encoder
from napari_medssl.train.methods.ingredients.slice_encoder import chosen_encoder, starting_encoder

TINY = '{"width": 8, "channels": 16}'


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A weights file of a small slice-resnet with one input slice."""
    encoder = build_encoder("slice-resnet", width=8, channels=16, in_slices=1, input_size=64)
    save_bundle(tmp_path / "own.safetensors", module_bundle("encoder", "slice-resnet", encoder, {}))
    return tmp_path / "own.safetensors"


def test_without_a_file_weights_are_random() -> None:
    torch.manual_seed(0)
    one, start = starting_encoder("slice-resnet", TINY, "", size=64)
    two, _ = starting_encoder("slice-resnet", TINY, "", size=64)
    assert start == "random"
    assert one.training
    assert not torch.equal(one.stem[0].weight, two.stem[0].weight)


def test_a_weights_file_also_says_how_the_encoder_is_built(own: Path) -> None:
    encoder, start = starting_encoder("slice-resnet", "", str(own), size=96)
    assert encoder.training
    assert encoder.config == {"width": 8, "channels": 16, "in_slices": 1, "input_size": 96}
    assert start.startswith(f"{own} (")


def test_published_weights_are_matched_by_name(tmp_path: Path) -> None:
    torch.manual_seed(7)
    other = build_encoder("resnet18-s8", width=8, channels=16)
    torch.save({f"backbone.{k}": v for k, v in other.state_dict().items() if "reduce" not in k}, tmp_path / "coco.pth")
    encoder, start = starting_encoder("resnet18-s8", TINY, str(tmp_path / "coco.pth"), size=64)
    assert torch.equal(encoder.layer4[1].conv2.weight, other.state_dict()["layer4.1.conv2.weight"])
    assert "reduce.weight" in start


def test_what_does_not_fit_is_refused(own: Path) -> None:
    with pytest.raises(WeightsError, match="holds the encoder 'slice-resnet'"):
        starting_encoder("resnet18-s8", "", str(own), size=64)
    with pytest.raises(WeightsError, match="do not fit the encoder"):
        starting_encoder("slice-resnet", '{"width": 16}', str(own), size=64)
    for options, message in (("{", "no JSON"), ("[1]", "JSON object")):
        with pytest.raises(SettingsError, match=message):
            starting_encoder("slice-resnet", options, str(own), size=64)


def test_the_options_reach_the_encoder() -> None:
    encoder = chosen_encoder("slice-resnet", '{"width": 8, "channels": 16, "in_slices": 1}', size=32)
    assert encoder.training
    assert encoder.config == {"in_slices": 1, "width": 8, "channels": 16, "input_size": 32}
    assert encoder(torch.rand(2, 1, 32, 32)).shape == (2, 16, 8, 8)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("slice-resnet", "{", "encoder_options is no JSON"),
        ("slice-resnet", "[1]", "must be a JSON object"),
        ("slice-resnet", '{"depth": 3}', "do not fit slice-resnet"),
        ("nonsense", "{}", "no encoder is called 'nonsense'"),
        ("feature-bank", "", "nothing to train"),
    ],
)
def test_options_that_do_not_fit_are_refused(name: str, options: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        chosen_encoder(name, options, size=32)
