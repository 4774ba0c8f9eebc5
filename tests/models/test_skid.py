"""The SKID networks against the published parameter counts and shapes, and their blocks against their formulas."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from napari_medssl.errors import SettingsError
from napari_medssl.models.encoder import build_encoder
from napari_medssl.models.jigsaw_net import skid_net
from napari_medssl.models.nine_branches import centre_cells
from napari_medssl.models.parameters import count_parameters
from napari_medssl.models.skid import ReductionBlock, SkidTrunk, SkidVersion, SkipBlock


def parameters(module: torch.nn.Module) -> int:
    return count_parameters(module).total


# E-08: Table 3.12 has 108.8, 169.9 / 170.4 and, moving statistics too, 217.17 / 217.68.
@pytest.mark.parametrize(
    ("version", "classes", "millions"),
    [
        ("v1", 500, 108.314), ("v1", 1000, 108.827), ("v2", 500, 169.927), ("v2", 1000, 170.440),
        ("v3", 500, 217.118), ("v3", 1000, 217.630),
    ],
)  # fmt: skip
def test_published_parameters(version: SkidVersion, classes: int, millions: float) -> None:
    with torch.device("meta"):
        net = skid_net(classes, version=version)
    assert round(parameters(net) / 1e6, 3) == millions


def test_published_parameters_with_moving_statistics() -> None:
    with torch.device("meta"):
        net = skid_net(1000)
    moving = sum(b.numel() for name, b in net.named_buffers() if "running" in name)
    assert round((parameters(net) + moving) / 1e6, 2) == 217.68


def test_the_frozen_body() -> None:
    with torch.device("meta"):
        assert round(parameters(SkidTrunk()) / 1e6, 2) == 212.41


def test_published_shapes() -> None:
    with torch.device("meta"):
        net = skid_net(500).eval()
        assert net.encoder.branches([torch.zeros(2, 3, 64, 64)] * 9).shape == (2, 2304, 16, 16)
        assert net.encoder.patches(torch.zeros(2, 9, 3, 64, 64)).shape == (2, 4096, 4, 4)
        assert net(torch.zeros(2, 9, 3, 64, 64)).shape == (2, 500)
        assert net.encoder(torch.zeros(1, 3, 256, 256)).shape == (1, 4096, 16, 16)  # B3-29
        plain = skid_net(500, version="noblocks").eval()
        assert plain.encoder.patches(torch.zeros(2, 9, 3, 64, 64)).shape == (2, 1024, 4, 4)


def test_skip_adds_a_quarter_of_two_convolutions() -> None:
    torch.manual_seed(0)
    block = SkipBlock(4, 6).eval()
    x = torch.randn(2, 4, 8, 8)
    conv1, norm1, _, conv2, norm2 = block.residual
    y = norm2(conv2(F.relu(norm1(conv1(x)))))
    torch.testing.assert_close(block(x), x + 0.25 * y)


def test_reduction_joins_strided_and_pooled() -> None:
    torch.manual_seed(0)
    block = ReductionBlock(4, 6).eval()
    x = torch.randn(2, 4, 8, 8)
    a1, n1, _, a2, n2, _ = block.strided
    _, b, n3, _ = block.pooled
    strided = F.relu(n2(a2(F.relu(n1(a1(x))))))
    pooled = F.relu(n3(b(x.unfold(2, 2, 2).unfold(3, 2, 2).mean((-1, -2)))))
    assert (a1.stride, a2.stride, b.kernel_size) == ((1, 1), (2, 2), (1, 1))
    torch.testing.assert_close(block(x), torch.cat([strided, pooled], 1))


def test_noblocks_only_averages() -> None:
    torch.manual_seed(0)
    trunk = SkidTrunk(version="noblocks", width=1 / 64).eval()
    patches = torch.rand(1, 9, 3, 32, 32)
    reduced = trunk.reduce(trunk.branches(patches.unbind(1)))
    torch.testing.assert_close(trunk.patches(patches), F.avg_pool2d(F.avg_pool2d(reduced, 2), 2))


def test_a_slice_is_the_same_patch_nine_times() -> None:
    torch.manual_seed(0)
    trunk = SkidTrunk(width=1 / 64).eval()
    slices = torch.rand(2, 3, 48, 32)
    torch.testing.assert_close(trunk(slices), trunk.patches(slices[:, None].expand(-1, 9, -1, -1, -1)))


def test_patch_mode_cuts_the_slice() -> None:
    torch.manual_seed(0)
    trunk = build_encoder("skid-trunk", width=1 / 64, patch_mode=True, patch=32)
    assert isinstance(trunk, SkidTrunk)
    slices = torch.rand(2, 3, 128, 110)
    out = trunk(slices)
    assert out.shape == (2, trunk.channels, 2, 2)
    torch.testing.assert_close(out, trunk.patches(torch.stack(centre_cells(slices, 32), 1)))


def test_wrong_settings_are_named() -> None:
    with pytest.raises(SettingsError, match="no SKID version is called 'v4'"):
        SkidTrunk(version="v4")  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="channels is 25; it must be even"):
        SkidTrunk(width=1 / 64, channels=25)


def test_a_small_net_learns_eight_samples() -> None:
    torch.manual_seed(0)
    net = skid_net(8, in_slices=1, width=1 / 64)
    patches, target = torch.rand(8, 9, 1, 16, 16), torch.arange(8)
    optimiser = torch.optim.Adam(net.parameters(), 3e-3)
    for _ in range(40):
        loss = F.cross_entropy(net(patches), target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.1
    assert all(p.grad is not None for p in net.parameters())
