"""The maps of a layer against their definitions, and the layers of every encoder."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from napari_medssl.classify.explain import activation_maps, default_layer, map_layers
from napari_medssl.classify.explain.occlusion import occlusion_map
from napari_medssl.classify.explain.settings import ExplainSettings
from napari_medssl.errors import SettingsError, WeightsError
from napari_medssl.models.encoder import build_encoder
from napari_medssl.models.encoder3d import build_encoder3d
from napari_medssl.models.heads import pooled

ENCODERS = [
    ("slice-resnet", {"width": 8, "channels": 16}, "encoder.out", "encoder.merge"),
    ("resnet18-s8", {"width": 8, "channels": 16}, "encoder.reduce", "encoder.layer4.1"),
    ("skid-trunk", {"width": 0.02}, "encoder.body.3", "encoder.body.3"),
    ("sslacl-trunk", {"width": 0.02}, "encoder.join.2", "encoder.join.2"),
    ("vit", {"channels": 64, "depth": 1, "input_size": 64}, "encoder", "encoder"),
    ("feature-bank", {}, "encoder", "encoder"),
]


class Pooled(nn.Module):
    """An encoder under a linear head."""

    def __init__(self, encoder: nn.Module, classes: int = 3) -> None:
        super().__init__()
        self.encoder, self.head = encoder, nn.Linear(encoder.channels, classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(pooled(self.encoder(images)))


def built(name: str, config: dict) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    encoder = build_encoder(name, **config)
    return Pooled(encoder).eval(), torch.rand(3, encoder.in_slices, 64, 64)


@pytest.mark.parametrize(("name", "config", "last", "rectified"), ENCODERS, ids=[e[0] for e in ENCODERS])
def test_the_last_stage_of_every_encoder_is_found(name, config, last, rectified):
    model, images = built(name, config)
    assert default_layer(model, images[:1]) == last
    assert default_layer(model, images[:1], rectified=True) == rectified
    maps = activation_maps(model, images, target=1, layer=last)
    side = 64 // int(model.encoder.stride)
    assert maps.shape == (3, side, side)
    assert maps.min() >= 0


@pytest.mark.parametrize("frozen", [False, True])
def test_a_linear_head_gives_the_class_activation_map(frozen):
    """With mean pooling and a linear head, Grad-CAM is the rectified sum of features times weights (Zhou, 2016)."""
    model, images = built("slice-resnet", {"width": 8, "channels": 16})
    model.encoder.requires_grad_(not frozen)
    with torch.no_grad():
        features = model.encoder(images)
        expected = torch.einsum("d,bdhw->bhw", model.head.weight[2], features).relu() / features[0, 0].numel()
    torch.testing.assert_close(activation_maps(model, images, target=2, layer="encoder.out"), expected)


def test_grad_cam_plus_plus_follows_its_equations_and_no_batch():
    """Equations 10 and 19 of Chattopadhyay et al. (2018) on one image; a batch gives each image what it gets alone."""
    model, images = built("resnet18-s8", {"width": 8, "channels": 16})
    maps = activation_maps(model, images, target=0, layer="encoder.layer4", method="gradcam++")
    kept = {}
    hook = model.encoder.layer4.register_forward_hook(lambda m, i, o: kept.update(a=o))
    score = model(images[1:2])[0, 0]
    hook.remove()
    (g,) = torch.autograd.grad(score, kept["a"])
    a = kept["a"].detach()
    below = 2 * g**2 + (a * g**3).sum((2, 3), keepdim=True)
    alpha = g**2 / (torch.where(below != 0, below, 1.0) + 1e-7)
    weights = (alpha * g.relu()).sum((2, 3), keepdim=True)
    torch.testing.assert_close(maps[1:2], (weights * a).sum(1).relu(), rtol=1e-4, atol=1e-7)


def test_a_layer_of_volumes_has_maps_of_volumes():
    torch.manual_seed(0)
    model = Pooled(build_encoder3d("unet3d", width=0.1), 2).eval()
    volume = torch.rand(1, 1, 16, 24, 32)
    layer = default_layer(model, volume)
    assert layer == "encoder.blocks.3.5"
    assert activation_maps(model, volume, target=1, layer=layer).shape == (1, 2, 3, 4)
    assert activation_maps(model, volume, target=1, layer="encoder.blocks.1").shape == (1, 8, 12, 16)


class Recurrent(nn.Module):
    """One convolution asked for each slice, with what it said before added to its input."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.Conv2d(1, 4, 3, padding=1), nn.Linear(4, 2)

    def forward(self, bags: Tensor) -> Tensor:
        state = torch.zeros_like(bags[:, 0])
        for image in bags.unbind(1):
            out = self.cell(image + state)
            state = out.mean(1, keepdim=True).relu_()  # in place, as many networks do
        return self.head(pooled(out))


def test_a_recurrent_layer_has_a_map_of_every_call():
    torch.manual_seed(2)
    model, bag = Recurrent(), torch.rand(1, 3, 1, 8, 8)
    maps = activation_maps(model, bag, target=0, layer="cell")
    assert maps.shape == (3, 8, 8)
    other = bag.clone()
    other[:, 0] *= 3
    assert (activation_maps(model, other, target=0, layer="cell")[2] - maps[2]).abs().max() > 1e-6
    kept = []
    hook = model.cell.register_forward_hook(lambda m, i, o: kept.append(o))
    score = model(bag)[0, 0]
    hook.remove()
    expected = [
        (g.mean((2, 3), keepdim=True) * a).sum(1).relu()
        for a, g in zip(kept, torch.autograd.grad(score, kept), strict=True)
    ]
    torch.testing.assert_close(maps, torch.cat(expected).detach())
    assert maps[0].max() > 0, "the first call reaches the score through the later ones"


def test_what_has_no_map_is_refused():
    model, images = built("vit", {"channels": 64, "depth": 1, "input_size": 64})
    with pytest.raises(SettingsError, match="keeps no map"):
        activation_maps(model, images, target=0, layer="encoder.blocks.0")
    with pytest.raises(SettingsError, match="no layer called 'nothing'"):
        activation_maps(model, images, target=0, layer="nothing")
    with pytest.raises(SettingsError, match="explain it by occlusion"):
        default_layer(nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), torch.rand(1, 1, 8, 8))
    assert set(map_layers(model, images)) == {"encoder.embed", "encoder"}


def test_damaged_weights_are_said_to_be_damaged():
    model, images = built("slice-resnet", {"width": 8, "channels": 16})
    model.encoder.merge.conv1.weight.data[0] = float("nan")
    with pytest.raises(WeightsError, match="damaged"):
        activation_maps(model, images, target=0, layer="encoder.out")
    with pytest.raises(WeightsError, match="damaged"):
        occlusion_map(model, images[:1], target=0, settings=ExplainSettings(patch=0.5))


def test_hiding_costs_what_the_hidden_part_gave():
    """A score that is the mean of the image: hiding a patch in darkness costs its share of it, at its place."""

    class Mean(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.mean((2, 3))

    image = torch.zeros(1, 1, 16, 16)
    image[0, 0, 4:8, 8:12] = 1.0
    settings = ExplainSettings(patch=0.25, overlap=0.0, fill="patch", batch=3)
    assert occlusion_map(Mean(), image, target=0, settings=settings).max() < 1e-7, "its own mean changes nothing"
    found = occlusion_map(Mean(), image, target=0, settings=ExplainSettings(patch=0.25, overlap=0.0, fill="mean"))
    expected = torch.zeros(16, 16)
    expected[4:8, 8:12] = (1 - 1 / 16) * 16 / 256
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-4)
