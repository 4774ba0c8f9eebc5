"""The SSLACL network against the published parameter counts and shapes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from napari_medssl.models.jigsaw_net import sslacl_net
from napari_medssl.models.parameters import count_parameters
from napari_medssl.models.sslacl import SslaclBottleneck, SslaclTrunk


def parameters(module: torch.nn.Module) -> int:
    return count_parameters(module).total


@pytest.mark.parametrize(("classes", "count"), [(500, 172_979_444), (1000, 173_491_944)])
def test_published_parameters(classes: int, count: int) -> None:
    with torch.device("meta"):  # E-06: one channel, no normalisation
        assert parameters(sslacl_net(classes, norm=False)) == count


def test_the_nine_branches_of_the_published_downstream_network() -> None:
    # E-07: 77,047,553 in all, of which 39,854,081 in the classifier behind the branches.
    with torch.device("meta"):
        assert parameters(SslaclTrunk(norm=False).branches) == 77_047_553 - 39_854_081


def test_published_shapes() -> None:
    with torch.device("meta"):
        net = sslacl_net(500).eval()
        patches = torch.zeros(2, 9, 1, 64, 64)
        assert net.encoder.branches(patches.unbind(1)).shape == (2, 4608, 16, 16)
        joined = net.encoder.patches(patches)
        assert joined.shape == (2, 2048, 16, 16)
        assert net.bottleneck(joined).shape == (2, 2048, 8, 8)
        assert net(patches).shape == (2, 500)
        assert net.encoder(torch.zeros(1, 1, 256, 256)).shape == (1, 2048, 64, 64)


def test_bottleneck_joins_strided_and_pooled() -> None:
    torch.manual_seed(0)
    block = SslaclBottleneck(4, width=1 / 256, norm=False)
    x = torch.randn(2, 4, 8, 8)
    a1, _, a2, _ = block.strided
    b = block.pooled[0]
    expected = torch.cat([F.relu(a2(F.relu(a1(x)))), F.max_pool2d(F.relu(b(x)), 2)], 1)
    assert block.channels == expected.shape[1] == 8
    torch.testing.assert_close(block(x), expected)


@pytest.mark.parametrize("norm", [True, False])
def test_a_small_net_learns_eight_samples(norm: bool) -> None:
    torch.manual_seed(0)
    net = sslacl_net(8, width=1 / 64, norm=norm)
    patches, target = torch.rand(8, 9, 1, 16, 16), torch.arange(8)
    optimiser = torch.optim.Adam(net.parameters(), 3e-3)
    for _ in range(80):
        loss = F.cross_entropy(net(patches), target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.1
