"""Prototypes give cosines and can be held still."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from napari_medssl.models.prototypes import Prototypes


def test_they_give_cosines() -> None:
    torch.manual_seed(0)
    prototypes, z = Prototypes(4, 3), torch.randn(5, 4)
    with torch.no_grad():
        prototypes.weight.mul_(3)
    expected = [[float(F.cosine_similarity(a, b, dim=0)) for b in prototypes.weight.detach()] for a in z]
    assert torch.allclose(prototypes(z), torch.tensor(expected), atol=1e-6)


def test_renormalising_changes_the_length_only() -> None:
    torch.manual_seed(0)
    prototypes, z = Prototypes(4, 3), torch.randn(5, 4)
    with torch.no_grad():
        prototypes.weight.mul_(torch.tensor([[0.5], [2.0], [7.0]]))
    before = prototypes(z)
    prototypes.renormalise()
    assert torch.allclose(prototypes.weight.norm(dim=1), torch.ones(3))
    assert torch.allclose(prototypes(z), before, atol=1e-6)


def test_frozen_prototypes_get_a_gradient_of_zero() -> None:
    torch.manual_seed(0)
    prototypes, z = Prototypes(4, 3), torch.randn(5, 4, requires_grad=True)
    moving, still = prototypes(z), prototypes(z, frozen=True)
    assert torch.equal(moving, still)
    assert float(torch.autograd.grad(moving.square().sum(), prototypes.weight)[0].abs().sum()) > 0
    still.square().sum().backward()
    assert prototypes.weight.grad is not None
    assert float(prototypes.weight.grad.abs().sum()) == 0
    assert z.grad is not None
    assert float(z.grad.abs().sum()) > 0
