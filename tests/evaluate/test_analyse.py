"""Label-free analysis: stages, views, batch statistics, curvature."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from napari_medssl.evaluate.activations import stage_features
from napari_medssl.evaluate.analyse import AnalyseSettings, analyse_steps, group_shift, stage_similarity
from napari_medssl.evaluate.candidate import Candidate
from napari_medssl.evaluate.embed import stack
from napari_medssl.metrics.representation import effective_rank, uniformity
from napari_medssl.progress import finish

QUICK = AnalyseSettings(slices_per_scan=3, pairs=6)


class Normed(nn.Module):
    """Two convolutions with batch normalisation."""

    in_slices, channels, stride = 1, 4, 2

    def __init__(self):
        super().__init__()
        self.config = {}
        self.first = nn.Sequential(nn.Conv2d(1, 3, 3, 2, 1), nn.BatchNorm2d(3), nn.ReLU())
        self.second = nn.Conv2d(3, 4, 1)

    def forward(self, slices):
        return self.second(self.first(slices))


@pytest.fixture
def normed():
    torch.manual_seed(1)
    return Candidate("normed", "normed", Normed().eval().requires_grad_(False), 2, 32, Normed)


def test_stages_are_means_over_their_grids(scans, normed, policy):
    batch = stack(scans, [(0, 2), (1, 4), (2, 7)], 1)
    found = stage_features(normed.encoder, [batch[:2], batch[2:]], policy)
    assert list(found) == ["first", "second", "output"]
    torch.testing.assert_close(found["first"], normed.encoder.first(batch).mean((2, 3)))
    torch.testing.assert_close(found["second"], found["output"])
    assert not normed.encoder.first._forward_hooks


def test_scores_are_those_of_the_features(scans, candidate, policy):
    found = finish(analyse_steps(candidate, scans, QUICK, policy=policy))
    output = found.stages["output"]
    assert output.shape == (18, 16)
    assert found.scores["uniformity"].value == pytest.approx(float(uniformity(output)))
    assert found.scores["uniformity magnitude"].value == -found.scores["uniformity"].value
    assert found.scores["effective rank"].value == pytest.approx(float(effective_rank(output)))
    assert -1 <= found.scores["tolerance"].value <= 1
    assert 0 < found.scores["alignment"].value < 4
    assert found.scores["bn distance"].value is None
    assert "no batch normalisation" in found.scores["bn distance"].reason
    assert found.picture.shape == (18, 2)


def test_equal_views_are_aligned_and_strong_ones_less(scans, candidate, policy):
    found = finish(analyse_steps(candidate, scans, replace(QUICK, views="none"), policy=policy)).scores
    assert found["alignment"].value == pytest.approx(0, abs=1e-6)
    assert found["alignment s6"].value > 0
    assert found["alignment s1"].value < found["alignment s6"].value


def test_classes_need_masks(scans, candidate, policy):
    unlabelled = [replace(s, labels=None) for s in scans]
    found = finish(analyse_steps(candidate, unlabelled, replace(QUICK, strengths=False), policy=policy)).scores
    assert found["tolerance"].reason == "no masks, so no classes"
    assert "alignment s1" not in found


def test_layers_of_one_network_agree_with_themselves(scans, candidate, policy):
    first = finish(analyse_steps(candidate, scans, QUICK, policy=policy))
    other = finish(analyse_steps(candidate, scans, QUICK, policy=policy, encoder=candidate.judged(9, policy)))
    same, table = stage_similarity(first, first), stage_similarity(first, other)
    assert np.diag(same) == pytest.approx(np.ones(len(first.stages)))
    assert len(table) == len(table[0]) == len(first.stages)
    assert np.diag(table).min() < 0.999


def test_batch_statistics_of_the_data(scans, normed, policy):
    before = {k: v.clone() for k, v in normed.encoder.state_dict().items()}
    shift = finish(analyse_steps(normed, scans, QUICK, policy=policy)).scores["bn distance"].value
    assert shift > 0
    assert all(torch.equal(v, before[k]) for k, v in normed.encoder.state_dict().items())
    brighter = [replace(s, image=np.clip(s.image.astype(int) + 60, 0, 255).astype(np.uint8)) for s in scans]
    same = group_shift(normed, {"a": scans, "b": scans}, policy)
    apart = group_shift(normed, {"a": scans, "b": brighter}, policy)
    assert same["a"].value == pytest.approx(same["b"].value)
    assert apart["a"].value > 10 * same["a"].value


def test_curvature_of_the_contrastive_loss(scans, normed, policy):
    settings = replace(QUICK, hessian_steps=60, hessian_slices=4, strengths=False)
    found = finish(analyse_steps(normed, scans, settings, policy=policy))
    assert found.spectrum is not None
    assert 0 <= found.scores["negative ritz values"].value <= 1
    assert found.scores["largest eigenvalue"].value > 0
    assert found.scores["largest eigenvalue"].value == float(found.spectrum.values.max())
    assert found.spectrum.values.shape[1] <= 3 * 9 + 3 + 6 + 12 + 4
