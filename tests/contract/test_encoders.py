"""What every registered encoder must keep, whatever its inside."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from napari_medssl.models import feature_bank, resnet, skid, slice_encoder, sslacl, vit
from napari_medssl.models.bundle import Bundle, load_bundle, load_module, save_bundle
from napari_medssl.models.encoder import Encoder, build_encoder, encoders

REGISTERED_BY = (feature_bank, resnet, skid, slice_encoder, sslacl, vit)

SMALL: dict[str, dict[str, Any]] = {
    "feature-bank": {},
    "resnet18-s8": {"width": 8},
    "resnet50-s8": {"width": 8},
    "resnet101-s8": {"width": 8},
    "skid-trunk": {"width": 1 / 64},
    "slice-resnet": {"width": 8, "channels": 16},
    "sslacl-trunk": {"width": 1 / 64},
    "vit": {"channels": 16, "depth": 2},
}
"""Arguments that keep the test small. An encoder that is registered and not named here fails the first test."""


def build(name: str, **config: Any) -> Any:
    torch.manual_seed(0)
    return build_encoder(name, **{**SMALL[name], **config})


def slices_for(encoder: Any, size: tuple[int, int] = (64, 64), batch: int = 2) -> Tensor:
    return torch.rand(batch, encoder.in_slices, *size, generator=torch.Generator().manual_seed(0))


def test_every_registered_encoder_is_tested() -> None:
    assert set(encoders) == set(SMALL)


@pytest.mark.parametrize("name", SMALL)
class TestContract:
    def test_declares_what_it_is(self, name: str) -> None:
        encoder = build(name)
        assert isinstance(encoder, Encoder)
        assert encoder.in_slices % 2 == 1
        assert encoder.input_size % encoder.stride == 0
        assert not encoder.training
        json.dumps(encoder.config)

    @pytest.mark.parametrize("size", [(64, 64), (32, 80)])
    def test_channels_and_stride_are_the_declared_ones(self, name: str, size: tuple[int, int]) -> None:
        encoder = build(name)
        out = encoder(slices_for(encoder, size))
        assert out.shape == (2, encoder.channels, size[0] // encoder.stride, size[1] // encoder.stride)
        assert out.dtype == torch.float32
        assert torch.isfinite(out).all()

    @pytest.mark.parametrize("in_slices", [1, 3, 5])
    def test_odd_contexts(self, name: str, in_slices: int) -> None:
        encoder = build(name, in_slices=in_slices)
        assert encoder.in_slices == in_slices
        assert torch.isfinite(encoder(slices_for(encoder))).all()

    def test_any_number_of_channels(self, name: str) -> None:
        encoder = build(name, channels=24)
        assert encoder.channels == encoder(slices_for(encoder)).shape[1] == 24

    def test_evaluation_is_deterministic_and_slice_by_slice(self, name: str) -> None:
        encoder = build(name)
        slices = slices_for(encoder)
        with torch.inference_mode():
            both = encoder(slices)
            assert torch.equal(both, encoder(slices))
            alone = torch.cat([encoder(slices[i : i + 1]) for i in range(2)])
        assert (both - alone).abs().max() < 1e-5 * both.abs().max()  # untrained deep networks give large values

    def test_the_input_is_left_as_it_was(self, name: str) -> None:
        encoder = build(name)
        slices = slices_for(encoder)
        before = slices.clone()
        encoder(slices)
        assert torch.equal(slices, before)

    def test_the_middle_slice_is_the_one_encoded(self, name: str) -> None:
        encoder = build(name, in_slices=3)
        slices = slices_for(encoder)
        other = slices.clone()
        other[:, 1] = 1 - other[:, 1]
        assert not torch.allclose(encoder(slices), encoder(other), atol=1e-4)

    def test_rebuilt_from_its_config_and_a_bundle(self, name: str, tmp_path: Path) -> None:
        encoder = build(name)
        tensors = {f"encoder.{k}": v for k, v in encoder.state_dict().items()}
        path = tmp_path / "weights.safetensors"
        save_bundle(path, Bundle({"encoder": {"name": name, "config": encoder.config}}, tensors))
        stored = load_bundle(path)
        torch.manual_seed(1)
        module = stored.modules["encoder"]
        again = load_module(build_encoder(module["name"], **module["config"]), stored.state("encoder"), "encoder")
        slices = slices_for(encoder)
        with torch.inference_mode():
            assert torch.equal(encoder(slices), again(slices))


@pytest.mark.parametrize("name", ["resnet18-s8", "resnet50-s8", "resnet101-s8"])
def test_the_published_grid(name: str) -> None:
    with torch.inference_mode():
        out = build(name, channels=256)(torch.rand(1, 1, 256, 256))
    assert out.shape == (1, 256, 32, 32)


def test_the_feature_bank_can_give_the_published_grid() -> None:
    assert build("feature-bank", channels=256, stride=8)(torch.rand(1, 1, 256, 256)).shape == (1, 256, 32, 32)
