"""What pixels add sums to the score, and lies where the network looks."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from napari_medssl.classify.explain import ExplainSettings, as_bag, explain, integrated_gradients
from napari_medssl.classify.explain.integrated import baseline_of
from napari_medssl.errors import SettingsError, WeightsError
from napari_medssl.models.encoder import build_encoder
from napari_medssl.models.exam_heads import build_head
from napari_medssl.models.exam_network import ExamNetwork
from tests.classify.explain.conftest import BrightDetector, slices_of
from tests.classify.explain.test_cam import Pooled

SETTINGS = ExplainSettings(method="integrated", fill="dark")


@pytest.mark.parametrize(
    ("name", "config"),
    [("skid-trunk", {"width": 0.02}), ("vit", {"channels": 64, "depth": 1, "input_size": 64})],
)
def test_what_is_added_sums_to_the_score(name, config):
    """Completeness within 1 %, for every input of a batch."""
    torch.manual_seed(0)
    model = Pooled(build_encoder(name, **config)).eval()
    images = torch.rand(2, model.encoder.in_slices, 64, 64)
    images[:, :, 20:40, 10:30] += 1
    start = baseline_of(images, "mean")
    found = integrated_gradients(model, images, target=1, baseline=start)
    with torch.no_grad():
        difference = (model(images) - model(start))[:, 1]
    torch.testing.assert_close(found.added.flatten(1).sum(1), difference, rtol=0.01, atol=1e-5)
    assert found.gap <= 0.01
    assert all(p.requires_grad for p in model.parameters())
    assert all(p.grad is None for p in model.parameters())


def test_a_linear_score_adds_weight_times_pixel():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    images = torch.rand(3, 3, 2, 2)
    found = integrated_gradients(model, images, target=0)
    torch.testing.assert_close(found.added, images * model[1].weight[0].detach().reshape(3, 2, 2))
    assert found.steps == 32


def test_a_network_that_bends_sharply_is_told():
    class Step(nn.Module):
        def forward(self, x):
            return torch.sigmoid(4000 * (x.mean((1, 2, 3), keepdim=True)[..., 0, 0] - 0.3337)).expand(-1, 2)

    found = integrated_gradients(Step(), torch.ones(1, 1, 4, 4), target=0, most=64)
    assert found.gap > 0.01
    assert found.steps == 64


def test_the_evidence_lies_on_the_block(marked):
    volume, place = marked
    model = BrightDetector()
    found = explain(model, slices_of(volume, model), target=1, settings=SETTINGS)
    assert found.report["layer"] == ""
    assert np.linalg.norm(np.array(found.report["peak"]["ras_mm"]) - place) < 8
    bag = dataclasses.replace(as_bag(slices_of(volume, model)))
    exam = explain(_Exam(model), bag, target=1, settings=SETTINGS)
    assert np.linalg.norm(np.array(exam.report["peak"]["ras_mm"]) - place) < 8


def test_an_exam_network_is_complete_over_its_slices():
    torch.manual_seed(1)
    encoder = build_encoder("slice-resnet", width=8, channels=16)
    network = ExamNetwork(encoder, build_head("attention", 16, 2)).eval()
    slices = torch.rand(1, 3, encoder.in_slices, 64, 64)
    found = integrated_gradients(network, slices, target=0)
    assert found.added.shape == slices.shape
    assert found.gap <= 0.01


def test_an_unknown_class_and_damaged_weights_are_refused():
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    with pytest.raises(SettingsError, match="class number 2"):
        integrated_gradients(model, torch.rand(1, 1, 2, 2), target=2)
    with torch.no_grad():
        model[1].weight.fill_(torch.nan)
    with pytest.raises(WeightsError, match="not numbers"):
        integrated_gradients(model, torch.rand(1, 1, 2, 2), target=1)


class _Exam(nn.Module):
    """The largest of the slices' scores."""

    def __init__(self, slices: nn.Module) -> None:
        super().__init__()
        self.slices = slices

    def forward(self, bags):
        return torch.stack([self.slices(bag).amax(0) for bag in bags])
