"""Restoring networks: cells and voxels correspond, hidden voxels have no influence, every parameter learns."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_medssl.losses.reconstruction import masked_mse
from napari_medssl.models.encoder import build_encoder
from napari_medssl.models.encoder3d import build_encoder3d
from napari_medssl.models.masked_autoencoder import MaskedAutoencoder, MaskedImageModel
from napari_medssl.models.patch_head import PatchHead, cells_to_image
from napari_medssl.models.vit import slice_transformer, volume_transformer


def autoencoder(dims: int) -> MaskedAutoencoder:
    torch.manual_seed(0)
    encoder = (
        slice_transformer(in_slices=3, channels=24, depth=2, patch=4, input_size=16)
        if dims == 2
        else volume_transformer(channels=24, depth=2, patch=4, size=(8, 16, 16))
    )
    return MaskedAutoencoder(encoder, channels=12, depth=1)


def example(dims: int) -> tuple[Tensor, Tensor, Tensor]:
    """Image, numbers of the visible patches, weight."""
    g = torch.Generator().manual_seed(0)
    sides = (16, 16) if dims == 2 else (8, 16, 16)
    image = torch.rand(2, 3 if dims == 2 else 1, *sides, generator=g)
    cells = [s // 4 for s in sides]
    hidden = torch.ones(2, cells[0] * cells[1] * (cells[2] if dims == 3 else 1))
    visible = torch.stack([torch.randperm(hidden.shape[1], generator=g)[:5] for _ in range(2)])
    hidden.scatter_(1, visible, 0)
    return image, visible, F.interpolate(hidden.view(2, 1, *cells), scale_factor=4)


def test_in_two_dimensions_it_is_the_pixel_shuffle() -> None:
    cells = torch.rand(2, 3 * 16, 5, 6)
    assert torch.equal(cells_to_image(cells, 4), F.pixel_shuffle(cells, 4))


def test_in_three_dimensions_voxel_by_voxel() -> None:
    cells = torch.rand(1, 2 * 8, 2, 3, 4)
    image = cells_to_image(cells, 2)
    assert image.shape == (1, 2, 4, 6, 8)
    for c, z, y, x in torch.cartesian_prod(*(torch.arange(n) for n in image.shape[1:])).tolist():
        part = ((c * 2 + z % 2) * 2 + y % 2) * 2 + x % 2
        assert image[0, c, z, y, x] == cells[0, part, z // 2, y // 2, x // 2]


@pytest.mark.parametrize("dims", [2, 3])
def test_a_head_restores_each_patch_from_its_own_cell(dims: int) -> None:
    torch.manual_seed(0)
    head = PatchHead(5, 2, stride=4, dims=dims)
    features = torch.rand(1, 5, *[2] * dims, requires_grad=True)
    image = head(features)
    assert image.shape == (1, 2, *[8] * dims)
    image[(0, slice(None), *[slice(4, 8)] * dims)].sum().backward()
    assert features.grad is not None
    assert (features.grad.abs().sum(1).flatten() > 0).tolist() == [False] * (2**dims - 1) + [True]


@pytest.mark.parametrize("dims", [2, 3])
def test_hidden_voxels_have_no_influence(dims: int) -> None:
    net = autoencoder(dims).eval()
    image, visible, weight = example(dims)
    other = torch.where(weight.bool(), torch.rand_like(image), image)
    assert net(image, visible).shape == image.shape
    assert torch.equal(net(image, visible), net(other, visible))
    assert not torch.allclose(net(image, visible), net(torch.where(weight.bool(), image, 1 - image), visible))


@pytest.mark.parametrize("dims", [2, 3])
def test_the_order_of_the_visible_patches_does_not_matter(dims: int) -> None:
    net = autoencoder(dims).eval()
    image, visible, _ = example(dims)
    torch.testing.assert_close(net(image, visible), net(image, visible.flip(1)), rtol=1e-4, atol=1e-5)


def convolutional(dims: int) -> Any:
    torch.manual_seed(0)
    if dims == 2:
        return MaskedImageModel(build_encoder("slice-resnet", width=8, channels=16).train(), 3, dims=2)
    return MaskedImageModel(build_encoder3d("unet3d", width=0.125).train(), 1, dims=3)


@pytest.mark.parametrize("dims", [2, 3])
def test_a_convolutional_net_does_not_see_hidden_voxels_either(dims: int) -> None:
    net = convolutional(dims).eval()
    image, _, weight = example(dims)
    other = torch.where(weight.bool(), torch.rand_like(image), image)
    assert net(image, weight).shape == image.shape
    assert torch.equal(net(image, weight), net(other, weight))


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("kind", [autoencoder, convolutional])
def test_it_learns_and_every_parameter_moves(kind: Any, dims: int) -> None:
    net = kind(dims)
    image, visible, weight = example(dims)
    second = visible if kind is autoencoder else weight
    optimiser = torch.optim.AdamW(net.parameters(), 3e-3)
    losses = []
    start = time.perf_counter()
    for _ in range(25):
        loss = masked_mse(net(image, second), image, weight)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert (time.perf_counter() - start) / 25 < 1
    assert losses[-1] < 0.6 * losses[0]
    still = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert not still


def test_half_precision() -> None:
    net = autoencoder(2)
    image, visible, weight = example(2)
    with torch.autocast("cpu", torch.bfloat16):
        loss = masked_mse(net(image, visible), image, weight)
    loss.backward()
    assert loss.dtype == torch.float32
    assert net.hidden.grad is not None
    assert torch.isfinite(net.hidden.grad).all()
