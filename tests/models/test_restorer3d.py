"""Encoder and decoder as one network."""

from __future__ import annotations

import pytest
import torch

from napari_medssl.models.encoder3d import build_encoder3d
from napari_medssl.models.restorer3d import Restorer3d
from napari_medssl.models.unet3d import UNet3dEncoder


@pytest.mark.parametrize("skip", [True, False])
def test_it_gives_volumes_in_range_and_keeps_the_encoder_once(skip: bool) -> None:
    encoder = build_encoder3d("unet3d", width=0.0625)
    assert isinstance(encoder, UNet3dEncoder)
    network = Restorer3d(encoder, skip=skip).eval()
    volume = torch.rand(2, 1, 8, 16, 24)
    out = network(volume)
    assert out.shape == volume.shape
    assert 0 < out.min() < out.max() < 1
    torch.testing.assert_close(out, network.decoder(network.encoder.stages(volume)).sigmoid())
    names = [n for n in network.state_dict() if "blocks.0.0.weight" in n]
    assert names == ["encoder.blocks.0.0.weight", "decoder.blocks.0.0.weight"]


def test_without_skips_everything_passes_the_deepest_grid() -> None:
    encoder = build_encoder3d("unet3d", width=0.0625, norm="group")
    assert isinstance(encoder, UNet3dEncoder)
    volume = torch.rand(1, 1, 8, 8, 8)
    for skip, same in ((True, False), (False, True)):
        network = Restorer3d(encoder, skip=skip).eval()
        stages = encoder.stages(volume)
        changed = [*[s + 1 for s in stages[:-1]], stages[-1]]
        assert torch.allclose(network.decoder(stages), network.decoder(changed)) == same
