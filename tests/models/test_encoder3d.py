"""What every registered volume encoder must keep, whatever its inside."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from napari_medssl.errors import GeometryError, SettingsError
from napari_medssl.models.bundle import load_bundle, load_module, module_bundle, save_bundle
from napari_medssl.models.encoder3d import VolumeEncoder, build_encoder3d, volume_encoders

SMALL: dict[str, dict[str, Any]] = {
    "medicalnet": {"depth": 10, "width": 0.125},
    "unet3d": {"width": 0.125},
    "vit3d": {"channels": 16, "depth": 4, "patch": 4, "size": [8, 12, 8]},
}
"""Arguments that keep the test small. A volume encoder that is registered and not named here fails the first test."""


def build(name: str, **config: Any) -> Any:
    torch.manual_seed(0)
    return build_encoder3d(name, **{**SMALL[name], **config})


def volume_for(encoder: Any, cells: tuple[int, int, int] = (2, 3, 2)) -> Tensor:
    size = [encoder.stride * c for c in cells]
    return torch.rand(2, encoder.in_channels, *size, generator=torch.Generator().manual_seed(0))


def test_every_registered_encoder_is_tested() -> None:
    with pytest.raises(SettingsError):
        build_encoder3d("")  # looks for it in every module
    assert set(volume_encoders) == set(SMALL)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(SettingsError, match=r"no volume encoder is called 'unet4d'.*unet3d"):
        build_encoder3d("unet4d")


@pytest.mark.parametrize("name", SMALL)
class TestContract:
    def test_declares_what_it_is(self, name: str) -> None:
        encoder = build(name)
        assert isinstance(encoder, VolumeEncoder)
        assert not encoder.training
        json.dumps(encoder.config)

    @pytest.mark.parametrize("cells", [(2, 2, 2), (1, 3, 2)])
    def test_channels_and_stride_are_the_declared_ones(self, name: str, cells: tuple[int, int, int]) -> None:
        encoder = build(name)
        out = encoder(volume_for(encoder, cells))
        assert out.shape == (2, encoder.channels, *cells)
        assert torch.isfinite(out).all()

    def test_the_last_of_four_stages_is_the_output(self, name: str) -> None:
        encoder = build(name)
        volume = volume_for(encoder)
        stages = encoder.stages(volume)
        assert len(stages) == 4
        assert torch.equal(stages[-1], encoder(volume))

    def test_a_size_that_does_not_divide_is_refused(self, name: str) -> None:
        encoder = build(name)
        with pytest.raises(GeometryError, match=f"multiple of {encoder.stride}"):
            encoder(torch.zeros(1, encoder.in_channels, encoder.stride, encoder.stride + 1, encoder.stride))

    def test_volume_by_volume(self, name: str) -> None:
        encoder = build(name)
        volume = volume_for(encoder)
        with torch.inference_mode():
            both = encoder(volume)
            alone = torch.cat([encoder(volume[i : i + 1]) for i in range(2)])
        torch.testing.assert_close(both, alone, rtol=1e-4, atol=1e-5)

    def test_rebuilt_from_its_config_and_a_bundle(self, name: str, tmp_path: Path) -> None:
        encoder = build(name)
        path = tmp_path / "weights.safetensors"
        save_bundle(path, module_bundle("encoder3d", name, encoder, {}))
        stored = load_bundle(path)
        torch.manual_seed(1)
        module = stored.modules["encoder3d"]
        again = load_module(build_encoder3d(module["name"], **module["config"]), stored.state("encoder3d"), name)
        volume = volume_for(encoder)
        with torch.inference_mode():
            assert torch.equal(encoder(volume), again(volume))
