"""Statistics collected anew against numpy's, and what the collection must leave alone."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from napari_medssl.metrics.batchnorm import bn_distance, bn_statistics, layer_distances, recollect


@pytest.fixture
def network():
    torch.manual_seed(0)
    layers = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.5))
    return layers.eval()


def batches(count=3, seed=1):
    g = torch.Generator().manual_seed(seed)
    return [2 + 3 * torch.randn(8, 3, 5, 5, generator=g) for _ in range(count)]


def test_statistics_equal_numpy(network):
    data = batches()
    collected = recollect(network, data)
    arrays = [b.numpy() for b in data]
    mean = np.mean([a.mean((0, 2, 3)) for a in arrays], axis=0)
    variance = np.mean([a.var((0, 2, 3), ddof=1) for a in arrays], axis=0)
    np.testing.assert_allclose(collected["0"][0], mean, rtol=1e-5)
    np.testing.assert_allclose(collected["0"][1], variance, rtol=1e-5)
    assert list(collected) == ["0", "2"]


def test_weights_modes_and_momentum_stay(network):
    network[3].train()
    before = copy.deepcopy(network.state_dict())
    recollect(network, batches())
    assert [m.training for m in network] == [False, False, False, True]
    assert network[0].momentum == 0.1
    for name, value in network.state_dict().items():
        if "running" not in name and "tracked" not in name:
            torch.testing.assert_close(value, before[name])
    assert all(p.grad is None for p in network.parameters())


def test_nothing_to_collect_from_leaves_the_statistics(network):
    before = bn_statistics(network)
    with pytest.raises(ValueError, match="no batch"):
        recollect(network, [])
    assert bn_distance(before, bn_statistics(network)) == 0.0


def test_distance(network):
    first = recollect(network, batches())
    assert bn_distance(first, first) == 0.0
    second = {k: (m + 2, v + 1) for k, (m, v) in first.items()}
    assert layer_distances(first, second) == pytest.approx({"0": 3 * (4 + 1), "2": 4 * (4 + 1)})
    assert bn_distance(first, second) == pytest.approx(35)


def test_network_without_batch_normalisation():
    plain = nn.Sequential(nn.Conv2d(3, 4, 1), nn.GroupNorm(2, 4))
    assert bn_statistics(plain) == {}
    with pytest.raises(ValueError, match="different layers"):
        bn_distance({}, {})
