"""Nine unshared branches: each sees its own image, and the cells of a slice are where they should be."""

from __future__ import annotations

import pytest
import torch

from napari_medssl.errors import GeometryError
from napari_medssl.models.nine_branches import NineBranches, centre_cells, scaled


def test_each_branch_sees_its_own_image_alone() -> None:
    torch.manual_seed(0)
    net = NineBranches(1, (2, 3))
    images = [torch.rand(2, 1, 8, 8, requires_grad=True) for _ in range(9)]
    features = net(images)
    assert features.shape == (2, 27, 2, 2)
    for k in range(9):
        gradients = torch.autograd.grad(features[:, 3 * k : 3 * k + 3].sum(), images, retain_graph=True)
        assert [bool(g.abs().sum() > 0) for g in gradients] == [j == k for j in range(9)]


def test_branches_are_not_shared() -> None:
    torch.manual_seed(0)
    net = NineBranches(1, (4, 4)).eval()
    first, second = net([torch.rand(1, 1, 8, 8)] * 9)[:, :8].split(4, 1)
    assert not torch.allclose(first, second)


def test_cells_of_a_slice_of_256() -> None:
    # Thesis, Algorithm 3.2: cells of floor(256 / 3) = 85 pixels; 64 of them from pixel 10 on, the last column unused.
    slices = torch.arange(256 * 256).view(1, 1, 256, 256)
    cells = centre_cells(slices, 64)
    assert [tuple(c.shape) for c in cells] == [(1, 1, 64, 64)] * 9
    assert [divmod(int(c[0, 0, 0, 0]), 256) for c in cells] == [
        (85 * r + 10, 85 * k + 10) for r in range(3) for k in range(3)
    ]


def test_cells_that_hold_no_patch_are_refused() -> None:
    with pytest.raises(GeometryError, match="a third of the slice has 21 x 33 pixels and holds no patch of 32"):
        centre_cells(torch.zeros(1, 1, 64, 100), 32)


def test_widths_are_even() -> None:
    assert [scaled(256, w) for w in (1, 0.125, 0.1, 1e-3)] == [256, 32, 26, 2]
