"""Networks of whole examinations are explained over the slices they look at, and say which slice counts."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from napari_medssl.classify.explain import (
    ExplainSettings,
    Shown,
    as_bag,
    attention_volume,
    exam_attention,
    explain,
    framed_slices,
    slice_drops,
)
from napari_medssl.errors import SettingsError
from napari_medssl.models.divided_branches import DividedBranches
from napari_medssl.models.encoder import build_encoder
from napari_medssl.models.exam_heads import build_head
from napari_medssl.models.exam_network import ExamNetwork
from napari_medssl.volume import Volume
from tests.classify.explain.conftest import BrightDetector

AFFINE = np.array([[-4.0, 0, 0, 30], [0, 0, 2.0, -20], [0, -2.0, 0, 31], [0, 0, 0, 1]])  # sagittal, from right to left


class Bright(nn.Module):
    """Two channels, what is bright and what is dark, in cells of 4 pixels."""

    in_slices, channels, stride, input_size = 1, 2, 4, 48

    def __init__(self) -> None:
        super().__init__()
        self.cells = BrightDetector(in_slices=1).cells

    def forward(self, slices: Tensor) -> Tensor:
        return self.cells(slices)


@pytest.fixture
def knee() -> Volume:
    """12 sagittal slices with a bright block on slice 7."""
    rng = np.random.default_rng(0)
    data = rng.uniform(20, 60, (12, 24, 24)).astype(np.float32)
    data[7, 4:11, 12:19] = 400  # of so few slices more than the brightest half per cent
    return Volume(data, AFFINE, "MR")


def network(head: str) -> ExamNetwork:
    """A head on brightness; those that join slices without mixing them are turned towards it."""
    torch.manual_seed(5)
    made = ExamNetwork(Bright(), build_head(head, 2, 2, width=0.03)).eval()
    with torch.no_grad():
        if head in ("max", "attention"):
            made.head.out.weight[0] = torch.tensor([20.0, 0.0])
        if head == "attention":
            made.head.content.weight.copy_(torch.tensor([50.0, 0.0]).expand(128, 2))
            made.head.content.bias.zero_()
            made.head.score.weight.fill_(0.1)
            made.head.gate.weight.zero_()
    return made


def exam(knee: Volume, slices=None) -> Shown:
    return dataclasses.replace(as_bag(framed_slices(knee, Bright(), slices=slices)), within="encoder")


@pytest.mark.parametrize("head", ["max", "attention"])
def test_the_evidence_lies_on_the_block_of_the_slice(knee, head):
    found = explain(network(head), exam(knee), target=0)
    z, y, x = found.report["peak"]["zyx"]
    assert z == 7
    assert 3 <= y < 12
    assert 11 <= x < 20
    assert found.report["layer"] == "encoder.cells.2"


@pytest.mark.parametrize("head", ["convlstm", "conv3d"])
def test_heads_that_mix_slices_are_asked_at_the_extractor(knee, head):
    shown = exam(knee, slices=[1, 4, 7, 10])
    found = explain(network(head), shown, target=0)
    assert found.report["layer"] == "encoder.cells.2"
    assert found.maps.shape == (4, 12, 12)
    whole = explain(network(head), dataclasses.replace(shown, within=""), target=0)
    assert whole.report["layer"].startswith("head") or head == "conv3d"


def test_two_draws_of_slices_are_two_bags(knee):
    shown = dataclasses.replace(exam(knee, slices=[5, 7, 9, 2, 5, 8]), bags=(range(3), range(3, 6)))
    found = explain(network("max"), shown, target=0)
    assert found.maps.shape[0] == 6
    assert found.report["peak"]["zyx"][0] == 7
    assert found.report["notes"][-1] == "the network was shown 5 of 12 slices"


def test_divide_and_teach_has_a_map_of_every_slice(knee):
    torch.manual_seed(0)
    trunk = build_encoder("sslacl-trunk", width=0.03, input_size=48)
    model = ExamNetwork(DividedBranches(trunk), build_head("divide", 16, 2, width=0.03)).eval()
    shown = dataclasses.replace(as_bag(framed_slices(knee, model.encoder, size=48)), within="encoder")
    found = explain(model, shown, target=0)
    assert found.maps.shape == (12, 12, 12)
    with pytest.raises(SettingsError, match="maps for 12 slices"):
        explain(model, shown, target=0, settings=ExplainSettings(layer="encoder.branches.branches.0"))


def test_attention_and_left_out_slices_name_the_slice(knee):
    shares = exam_attention(network("attention"), exam(knee))
    assert shares.sum() == pytest.approx(1, abs=1e-5)
    assert int(shares.argmax()) == 7
    image = attention_volume(shares, range(12), knee)
    assert image.data[7].min() == image.data.max() == 1
    assert image.data.shape == knee.shape
    assert exam_attention(network("max"), exam(knee)) is None
    for head in ("max", "attention"):
        drops = slice_drops(network(head), exam(knee), target=0)
        assert int(drops.argmax()) == 7
        assert drops[7] > 10 * abs(np.delete(drops, 7)).max()
    with pytest.raises(SettingsError, match="two or more are judged together"):
        slice_drops(network("max"), framed_slices(knee, Bright()), target=0)


def test_several_draws_of_attention_are_averaged(knee):
    image = attention_volume(np.array([0.2, 0.6, 0.4], np.float32), [3, 5, 3], knee)
    assert image.data[5].max() == 1
    assert image.data[3].max() == pytest.approx(0.5)
    assert not image.data[4].any()
    with pytest.raises(ValueError, match="2 shares of attention for 1 slices"):
        attention_volume(np.ones(2), [0], knee)
