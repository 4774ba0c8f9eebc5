"""How far an explanation can be believed: randomised weights, deletion and insertion."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from napari_medssl.classify.explain import ExplainSettings, explain_sanity, faithfulness, faithfulness_steps
from napari_medssl.classify.explain.sanity import cascade, rank_similarity, shuffle_weights, structure_similarity
from napari_medssl.classify.explain.shown import as_bag
from napari_medssl.errors import SettingsError
from napari_medssl.models.encoder import build_encoder
from napari_medssl.models.heads import pooled
from tests.classify.explain.conftest import BrightDetector, slices_of


class Head(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, 2)

    def forward(self, features: Tensor) -> Tensor:
        return self.linear(pooled(features))


def small_network() -> nn.Sequential:
    torch.manual_seed(4)
    encoder = build_encoder("slice-resnet", width=8, channels=16, input_size=48)
    return nn.Sequential(encoder, Head(16)).eval()


def test_parts_go_from_the_head_to_the_first_layer():
    names = [name for name, _ in cascade(small_network())]
    assert names == ["1", "0.out", "0.merge", "0.coarse", "0.fine", "0.stage3", "0.stage2", "0.stem"]


def test_shuffling_keeps_the_values_of_every_tensor():
    model = small_network()
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    shuffle_weights(model, torch.Generator().manual_seed(0))
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.flatten().sort()[0], before[name].flatten().sort()[0])
    assert not torch.equal(model[0].merge.conv1.weight, before["0.merge.conv1.weight"])


def test_a_map_of_the_network_changes_with_it(marked):
    volume, _ = marked
    model = small_network()
    shown = slices_of(volume, model[0], slices=[3, 4, 5])
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    found = explain_sanity(model, shown, target=1)
    assert len(found.steps) == 8
    assert found.passed
    assert abs(found.steps[-1].rank) < 0.5
    assert found.steps[-1].structure < 0.8
    assert found.facts()["sentence"].endswith("depends on training")
    assert all(torch.equal(p, before[n]) for n, p in model.named_parameters()), "a copy was shuffled"
    again = explain_sanity(model, shown, target=1)
    assert again == found, "the same seed gives the same"


def test_a_map_of_the_image_does_not_pass(marked):
    """A network whose only weights scale its score: whatever they are, its map is the bright part of the image."""

    class Brightness(nn.Module):
        in_slices, input_size = 1, 48

        def __init__(self) -> None:
            super().__init__()
            self.same, self.scale = nn.AvgPool2d(2), nn.Parameter(torch.tensor([2.0, 3.0]))

        def forward(self, images: Tensor) -> Tensor:
            return pooled(self.same(images)) * self.scale

    volume, _ = marked
    found = explain_sanity(Brightness(), slices_of(volume, Brightness(), slices=[4]), target=0)
    assert [s.part for s in found.steps] == ["network"]
    assert found.steps[0].rank == pytest.approx(1)
    assert not found.passed
    assert "do not read it as evidence" in found.sentence


def test_similarities_have_their_known_values():
    maps = torch.rand(2, 9, 9, generator=torch.Generator().manual_seed(0))
    assert rank_similarity(maps, maps**3) == pytest.approx(1), "any growing function keeps the ranks"
    assert rank_similarity(maps, -maps) == pytest.approx(-1)
    assert rank_similarity(maps, torch.ones_like(maps)) == 0
    assert structure_similarity(maps, 5 * maps) == pytest.approx(1)
    assert structure_similarity(maps[:, :4, :4], maps[:, :4, :4]) is None


def test_taking_the_block_away_takes_the_class_away(marked):
    volume, _ = marked
    model = BrightDetector()
    with torch.no_grad():
        model.head.weight.mul_(2000)
        model.head.bias[1] = -4.0
    lit = [int(z) for z in np.flatnonzero((volume.data > 200).any((1, 2)))]
    shown = slices_of(volume, model, slices=lit)
    found = faithfulness(model, shown, target=1)
    assert found.share[[0, -1]].tolist() == [0, 1]
    assert found.deletion[0] == pytest.approx(found.insertion[-1]), "both are the slice as it is"
    assert found.deletion[0] > 0.9
    assert found.deletion[2] < 0.1, "the block lies in the first tenth"
    areas = found.facts()
    assert areas["deletion"] < areas["random_deletion"] - 0.1
    assert areas["insertion"] > areas["random_insertion"] + 0.1
    softmax = faithfulness(model, shown, target=1, one_of=True)
    assert softmax.deletion[-1] != pytest.approx(found.deletion[-1])
    with pytest.raises(SettingsError, match="single slices"):
        next(faithfulness_steps(model, as_bag(shown), target=1, settings=ExplainSettings()))
