"""The downstream networks: parameter counts of the thesis, shares of slices, and what their order means."""

from __future__ import annotations

import pytest
import torch

from napari_medssl.errors import SettingsError
from napari_medssl.models.convlstm import ConvLstm
from napari_medssl.models.deep_resnet import without_reduction
from napari_medssl.models.divided_branches import DividedBranches, divide
from napari_medssl.models.encoder import build_encoder
from napari_medssl.models.exam_heads import AttentionHead, ChannelScale, ConvLstmHead, DivideHead, MaxHead, build_head
from napari_medssl.models.exam_network import ExamNetwork
from napari_medssl.models.parameters import count_parameters
from napari_medssl.models.skid import SkidTrunk
from napari_medssl.models.sslacl import SslaclTrunk


def parameters(module: torch.nn.Module) -> int:
    return count_parameters(module).total


def test_parameter_counts_are_those_of_the_documents() -> None:
    """Built without memory: 300 M parameters would take a gigabyte."""
    with torch.device("meta"):
        assert parameters(ConvLstmHead(4096, 3)) == 103_814_659
        assert parameters(DivideHead(512, 1)) == 39_854_081
        sslacl = ExamNetwork(DividedBranches(SslaclTrunk(norm=False)), DivideHead(512, 1))
        assert parameters(sslacl) == 77_047_553
        trunk = SkidTrunk(version="v3")
        assert parameters(trunk) == pytest.approx(212.41e6, abs=0.01e6)
        assert parameters(ExamNetwork(trunk, ConvLstmHead(4096, 3))) == pytest.approx(316.2e6, abs=0.1e6)
        noblocks = SkidTrunk(version="noblocks")
        assert parameters(ExamNetwork(noblocks, ConvLstmHead(noblocks.channels, 3))) < parameters(trunk)
        binary = ExamNetwork(without_reduction(build_encoder("resnet50-s8")), MaxHead(2048, 1))
        assert parameters(binary) == 23_508_032 + 2_049  # ResNet-50 as published without its classifier, and 2048 -> 1


@pytest.mark.parametrize(
    ("slices", "shares"),
    [
        (36, (4,) * 9), (30, (4, 4, 4, 3, 3, 3, 3, 3, 3)), (17, (2,) * 8 + (1,)), (9, (1,) * 9),
        (5, (1,) * 5 + (0,) * 4),
    ],
)  # fmt: skip
def test_slices_are_dealt_out_as_computed_by_hand(slices: int, shares: tuple[int, ...]) -> None:
    assert divide(slices) == shares


@pytest.mark.parametrize("count", range(1, 41))
def test_shares_are_even_and_leave_nothing_over(count: int) -> None:
    shares = divide(count)
    assert sum(shares) == count
    assert max(shares) - min(shares) <= 1
    assert list(shares) == sorted(shares, reverse=True)


def test_each_branch_sees_its_own_slices_in_order() -> None:
    torch.manual_seed(0)
    divided = DividedBranches(SslaclTrunk(width=1 / 64, norm=False)).eval()
    slices = torch.rand(11, 1, 8, 8)
    found = divided(slices)
    assert found.shape == (11, divided.channels, 2, 2)
    branches = divided.branches.branches
    assert torch.allclose(found[:2], branches[0](slices[:2]))  # 11 = 2 + 2 + 7 x 1
    assert torch.allclose(found[10:], branches[8](slices[10:]))
    assert divided(slices[:1]).shape == (1, divided.channels, 2, 2)  # eight branches without a slice


def test_convlstm_agrees_with_its_equations() -> None:
    torch.manual_seed(0)
    layer = ConvLstm(2, 3)
    maps = torch.rand(1, 4, 2, 5, 5)
    weight = torch.cat([layer.from_input.weight, layer.from_state.weight], 1)  # one convolution of input and state
    h = c = torch.zeros(1, 3, 5, 5)
    for x in maps.unbind(1):
        i, f, o, g = torch.conv2d(torch.cat([x, h], 1), weight, layer.from_input.bias, padding=1).chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
    assert torch.allclose(layer(maps)[:, -1], h, atol=1e-6)


@pytest.mark.parametrize("name", ["max", "attention", "convlstm", "conv3d", "divide"])
def test_heads_take_one_slice_and_teach_every_weight(name: str) -> None:
    torch.manual_seed(0)
    head = build_head(name, 6, 2, width=1 / 64)
    assert head(torch.rand(1, 1, 6, 8, 8)).shape == (1, 2)
    if isinstance(head, AttentionHead):
        torch.nn.init.normal_(head.score.weight)  # all slices alike teach the gate nothing
    head(torch.rand(3, 4, 6, 8, 8)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in head.parameters())


@pytest.mark.parametrize("head", [MaxHead(5, 2), AttentionHead(5, 2)])
def test_pooling_does_not_care_about_order(head: torch.nn.Module) -> None:
    features = torch.rand(2, 6, 5, 3, 3)
    assert torch.allclose(head(features), head(features[:, torch.randperm(6)]), atol=1e-6)


def test_attention_begins_with_the_mean_and_sums_to_one() -> None:
    head = AttentionHead(5, 1)
    assert torch.allclose(head.attention(torch.rand(2, 4, 5, 3, 3)), torch.full((2, 4), 0.25))
    torch.nn.init.normal_(head.score.weight, std=5.0)
    weights = head.attention(torch.rand(2, 4, 5, 3, 3))
    assert torch.allclose(weights.sum(1), torch.ones(2))
    assert weights.std() > 0


def test_channels_of_any_size_are_brought_to_one() -> None:
    scale, features = (
        ChannelScale(3),
        torch.randn(50, 3) * torch.tensor([1e-3, 1.0, 0.0]) + torch.tensor([0.0, 5.0, 2.0]),
    )
    assert torch.equal(scale(features), features)
    scale.fit(features)
    found = scale(features)
    assert torch.allclose(found.mean(0), torch.zeros(3), atol=1e-4)
    assert torch.allclose(found.std(0, correction=0), torch.tensor([1.0, 1.0, 0.0]), atol=1e-3)
    assert count_parameters(scale).total == 0
    head = MaxHead(3, 1)
    head.scale.fit(features)
    again = MaxHead(3, 1)
    again.load_state_dict(head.state_dict())
    assert torch.equal(again(features.view(1, 50, 3, 1, 1)), head(features.view(1, 50, 3, 1, 1)))


def test_the_halves_of_a_network_are_the_network() -> None:
    torch.manual_seed(0)
    network = ExamNetwork(SkidTrunk(width=1 / 64), build_head("convlstm", 64, 3, width=1 / 64)).eval()
    slices = torch.rand(2, 5, 3, 32, 32)
    assert torch.allclose(network(slices), network.decide(network.features(slices)))
    assert network.per_slice
    assert torch.allclose(network.features(slices)[1, 2], network.features(slices[1:, 2:3])[0, 0], atol=1e-5)


def test_unknown_head_and_encoder_without_stages_are_refused() -> None:
    with pytest.raises(SettingsError, match="choose max, attention"):
        build_head("transformer", 4, 1)
    with pytest.raises(SettingsError, match="resnet50-s8"):
        without_reduction(SkidTrunk(width=1 / 64))
