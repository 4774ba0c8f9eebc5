"""The transformer encoders: sizes counted by hand, and that hidden patches are never looked at."""

from __future__ import annotations

import pytest
import torch

from napari_medssl.errors import GeometryError, SettingsError
from napari_medssl.models.encoder import build_encoder
from napari_medssl.models.encoder3d import build_encoder3d
from napari_medssl.models.parameters import count_parameters
from napari_medssl.models.vit import PatchTransformer, slice_transformer, volume_transformer


def small(dims: int) -> PatchTransformer:
    torch.manual_seed(0)
    if dims == 2:
        return slice_transformer(in_slices=1, channels=12, depth=2, heads=2, patch=4, input_size=16).eval()
    return volume_transformer(channels=12, depth=2, heads=2, patch=4, size=(8, 16, 16)).eval()


def parameters(module: torch.nn.Module) -> int:
    return count_parameters(module).total


def test_vit_base_is_as_large_as_it_should() -> None:
    # A block: four d x d of attention and eight of the MLP, 9 d of their biases, 4 d of two norms.
    d = 768
    with torch.device("meta"):
        found = parameters(slice_transformer(in_slices=3, channels=d, depth=12, patch=16, input_size=224))
    assert found == 12 * (12 * d * d + 13 * d) + (16 * 16 * 3 * d + d) + 2 * d


def test_default_sizes() -> None:
    with torch.device("meta"):
        assert round(parameters(build_encoder("vit")) / 1e6, 1) == 5.4
        volume = build_encoder3d("vit3d").train()
        assert [tuple(s.shape) for s in volume.stages(torch.zeros(1, 1, 32, 64, 64))] == [(1, 192, 4, 8, 8)] * 4


@pytest.mark.parametrize("dims", [2, 3])
def test_tokens_lie_where_their_patch_lies(dims: int) -> None:
    net = small(dims)
    image = torch.rand(1, 1, *net.size)
    grid = net.grid(image)
    flat = net(image).flatten(2)
    order = torch.arange(flat.shape[2]).flip(0)
    tokens = net.visible(image, order[None])
    torch.testing.assert_close(tokens[0].T.flip(1), flat[0], rtol=1e-4, atol=1e-5)
    # A change of one patch changes the embedding of the token with its number, and of no other.
    changed = image.clone()
    corner = tuple(slice(4 * (n - 1), 4 * n) for n in grid)
    changed[(0, 0, *corner)] += 1
    differs = (net._tokens(image) - net._tokens(changed)).abs().sum(-1)[0] > 1e-4
    assert differs.tolist() == [False] * (len(order) - 1) + [True]


@pytest.mark.parametrize("dims", [2, 3])
def test_hidden_patches_are_never_looked_at(dims: int) -> None:
    net = small(dims)
    image = torch.rand(2, 1, *net.size, requires_grad=True)
    visible = torch.tensor([[0, 3, 5], [1, 2, 7]])
    net.visible(image, visible).square().sum().backward()
    assert image.grad is not None
    touched = image.grad.abs().flatten(2)
    pool = torch.nn.functional.max_pool2d if dims == 2 else torch.nn.functional.max_pool3d
    cells = pool(image.grad.abs(), 4).flatten(2)[:, 0] > 0
    assert touched.any()
    assert [row.nonzero().flatten().tolist() for row in cells] == visible.tolist()


def test_another_size_keeps_the_field_of_view() -> None:
    net = small(2)
    flat = torch.full((1, 1, 16, 16), 0.5)  # no content: what is left is the position
    larger = torch.full((1, 1, 48, 48), 0.5)
    torch.testing.assert_close(net._tokens(larger).view(12, 12, 12)[1::3, 1::3].reshape(1, 16, 12), net._tokens(flat))
    assert net(larger).shape == (1, 12, 12, 12)


def test_wrong_sizes_are_named() -> None:
    with pytest.raises(SettingsError, match="patches of 8 do not tile the input of 20 x 20"):
        slice_transformer(input_size=20)
    with pytest.raises(SettingsError, match="12 blocks and 24 channels in 5 heads"):
        slice_transformer(channels=24, heads=5)
    with pytest.raises(GeometryError, match=r"18 x 16 voxels \(y x\); crop or pad every side to a multiple of 4"):
        small(2)(torch.zeros(1, 1, 18, 16))
