"""Curvature of functions whose Hessian is known."""

import numpy as np
import pytest
import torch
from torch import nn

from napari_medssl.metrics.hessian import hessian_product, lanczos, loss_spectrum, spectrum


def quadratic(eigenvalues, seed=0):
    n = len(eigenvalues)
    turn = torch.linalg.qr(torch.randn(n, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))[0]
    return turn @ torch.diag(torch.tensor(eigenvalues, dtype=torch.float64)) @ turn.T


def seeded(n=0):
    return torch.Generator().manual_seed(n)


def test_product_is_the_hessian_times_the_vector():
    matrix = quadratic([3.0, -1, 0.5, 2])
    x = torch.randn(4, generator=seeded(), dtype=torch.float64, requires_grad=True)
    y = torch.ones(2, dtype=torch.float64, requires_grad=True)  # not reached by the loss

    def loss():
        return 0.5 * x @ matrix @ x + x.pow(3).sum()

    v = torch.arange(6.0, dtype=torch.float64)
    expected = (matrix + torch.diag(6 * x.detach())) @ v[:4]
    product = hessian_product(loss, [x, y])(v)
    torch.testing.assert_close(product[:4], expected)
    assert product[4:].tolist() == [0, 0]
    straight = hessian_product(lambda: 2 * x.sum(), [x])
    assert straight(v[:4]).tolist() == [0, 0, 0, 0]


def test_all_eigenvalues_of_a_quadratic_are_found_once():
    eigenvalues = sorted([5.0, 4.99, 1, 0.1, -0.2, -3])
    matrix = quadratic(eigenvalues)
    x = torch.zeros(6, dtype=torch.float64, requires_grad=True)
    product = hessian_product(lambda: 0.5 * x @ matrix @ x, [x])
    found = spectrum(product, 6, steps=10, generator=seeded(), dtype=torch.float64)
    np.testing.assert_allclose(found.values[0], eigenvalues, atol=1e-8)
    assert found.negative_share() == pytest.approx(2 / 6)


def test_no_ghosts_after_many_steps():
    eigenvalues = [100.0, 50, *np.linspace(-1, 1, 98)]
    matrix = quadratic(eigenvalues).float()
    found = spectrum(lambda v: matrix @ v, 100, steps=60, generator=seeded(1))
    values = found.values[0]
    assert int((values > 40).sum()) == 2
    np.testing.assert_allclose(values[-2:], [50, 100], rtol=1e-4)


def test_invariant_start_ends_early_and_exactly():
    matrix = torch.diag(torch.tensor([2.0, 2, 2, 7], dtype=torch.float64))
    diagonal, beside = lanczos(lambda v: matrix @ v, torch.ones(4, dtype=torch.float64), 4)
    assert len(diagonal) == 2
    t = torch.diag(diagonal) + torch.diag(beside, 1) + torch.diag(beside, -1)
    np.testing.assert_allclose(torch.linalg.eigvalsh(t), [2, 7])


def test_quadrature_gives_moments_and_density():
    eigenvalues = np.concatenate([np.full(60, -1.0), np.full(120, 0.0), np.full(20, 4.0)])
    matrix = quadratic(eigenvalues)
    found = spectrum(lambda v: matrix @ v, 200, steps=5, probes=40, generator=seeded(2), dtype=torch.float64)
    mean = float((found.values * found.weights).sum(1).mean())
    assert mean == pytest.approx(eigenvalues.mean(), abs=0.05)
    assert found.negative_mass() == pytest.approx(0.3, abs=0.03)
    grid = torch.linspace(-3, 6, 1801, dtype=torch.float64)
    density = found.density(grid, sigma=0.1)
    assert float(density.sum() * 0.005) == pytest.approx(1.0, abs=1e-3)
    assert float(density[grid.sub(4).abs() < 0.5].sum() * 0.005) == pytest.approx(0.1, abs=0.03)


def test_spectrum_of_a_network_equals_its_dense_hessian():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.BatchNorm1d(4), nn.Linear(4, 1)).double().train()
    network[0].weight.requires_grad_(False)
    x, y = torch.randn(20, 3, dtype=torch.float64), torch.randn(20, 1, dtype=torch.float64)
    found = loss_spectrum(network, lambda: (network(x) - y).square().mean(), steps=99, generator=seeded())
    assert network.training
    assert not network[0].weight.requires_grad
    assert network[2].num_batches_tracked == 0  # eval mode: the batch left no trace in the statistics

    sizes = [p.numel() for p in network.parameters()]
    flat = torch.cat([p.detach().reshape(-1) for p in network.parameters()])
    network.eval()

    def of(vector):
        pieces = zip(network.named_parameters(), vector.split(sizes), strict=True)
        parts = {name: piece.reshape(p.shape) for (name, p), piece in pieces}
        return (torch.func.functional_call(network, parts, (x,)) - y).square().mean()

    dense = torch.linalg.eigvalsh(torch.autograd.functional.hessian(of, flat))
    np.testing.assert_allclose(found.values[0, -3:], dense[-3:], atol=1e-7)
    np.testing.assert_allclose(found.values[0, 0], dense[0], atol=1e-7)
    assert float((found.values * found.weights).sum()) > 0
