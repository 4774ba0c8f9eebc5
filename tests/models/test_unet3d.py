"""The 3D U-Net: sizes counted by hand, and what its skip connections do."""

from __future__ import annotations

import time

import pytest
import torch

from napari_medssl.models.parameters import count_parameters
from napari_medssl.models.restorer3d import Restorer3d
from napari_medssl.models.unet3d import UNet3dDecoder, UNet3dEncoder


def parameters(module: torch.nn.Module) -> int:
    return count_parameters(module).total


def test_encoder_parameters_at_width_1() -> None:
    # 27 weights for each pair of channels: 1-32-64, 64-64-128, 128-128-256, 256-256-512; a scale and a shift each.
    pairs = 1 * 32 + 32 * 64 + 64 * 64 + 64 * 128 + 128 * 128 + 128 * 256 + 256 * 256 + 256 * 512
    norms = 2 * (32 + 64 + 64 + 128 + 128 + 256 + 256 + 512)
    with torch.device("meta"):
        assert parameters(UNet3dEncoder()) == 27 * pairs + norms == 7_026_336


@pytest.mark.parametrize(("skip", "joined"), [(True, (768, 384, 192)), (False, (512, 256, 128))])
def test_decoder_parameters_at_width_1(skip: bool, joined: tuple[int, int, int]) -> None:
    up = sum(8 * c * c + c for c in (512, 256, 128))
    fine = (256, 128, 64)
    convolutions = 27 * sum(j * f + f * f for j, f in zip(joined, fine, strict=True)) + 2 * 2 * sum(fine)
    with torch.device("meta"):
        assert parameters(UNet3dDecoder(UNet3dEncoder(), 1, skip=skip)) == up + convolutions + 64 + 1


def test_shapes_at_width_1() -> None:
    with torch.device("meta"):
        encoder = UNet3dEncoder()
        stages = encoder.stages(torch.zeros(2, 1, 32, 64, 48))
        out = UNet3dDecoder(encoder, 3)(stages)
    assert [tuple(s.shape[1:]) for s in stages] == [
        (64, 32, 64, 48), (128, 16, 32, 24), (256, 8, 16, 12), (512, 4, 8, 6)
    ]  # fmt: skip
    assert out.shape == (2, 3, 32, 64, 48)


@pytest.mark.parametrize("width", [1 / 32, 0.1, 0.25])
def test_stages_double_at_any_width(width: float) -> None:
    a, b, c, d = UNet3dEncoder(width=width).stage_channels
    assert (b, c, d) == (2 * a, 4 * a, 8 * a)


def test_without_skip_only_the_deepest_stage_is_read() -> None:
    torch.manual_seed(0)
    encoder = UNet3dEncoder(width=0.125).eval()
    stages = encoder.stages(torch.rand(1, 1, 16, 16, 16))
    others = [torch.zeros_like(s) for s in stages[:3]] + stages[3:]
    for skip in (True, False):
        decoder = UNet3dDecoder(encoder, 1, skip=skip).eval()
        assert torch.equal(decoder(stages), decoder(others)) is not skip


def test_a_batch_of_one_trains_with_group_norm() -> None:
    torch.manual_seed(0)
    encoder = UNet3dEncoder(width=0.125, norm="group").train()
    volume = torch.rand(1, 1, 8, 8, 8)
    trained = encoder(volume)  # batch norm refuses a single cell of a single example
    torch.testing.assert_close(encoder.eval()(volume), trained)
    with pytest.raises(ValueError, match="more than 1 value"):
        UNet3dEncoder(width=0.125).train()(volume)


def test_a_small_net_takes_a_quick_step_and_every_parameter_moves() -> None:
    torch.manual_seed(0)
    net = Restorer3d(UNet3dEncoder(width=0.125))
    volume = torch.rand(2, 1, 16, 32, 32)
    start = time.perf_counter()
    (net(volume) - volume).square().mean().backward()
    assert time.perf_counter() - start < 5  # a tenth of it here; the margin is for busy machines
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
