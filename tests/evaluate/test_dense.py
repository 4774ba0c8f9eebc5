"""Cells of the feature grid: their classes, draws, Dice, and the comparison over them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from napari_medssl.errors import FormatError
from napari_medssl.evaluate.candidate import Candidate
from napari_medssl.evaluate.compare import CompareSettings
from napari_medssl.evaluate.dense import dense_steps
from napari_medssl.evaluate.dense_cells import cell_features, draw_cells, organ_cells, organ_dice
from napari_medssl.evaluate.fit import FitSettings
from napari_medssl.progress import finish


class Patches(nn.Module):
    """One convolution over whole cells: quick, and enough for bright blocks."""

    in_slices, channels, stride = 1, 8, 4

    def __init__(self):
        super().__init__()
        self.config = {}
        self.cut = nn.Conv2d(1, 8, 4, 4)

    def forward(self, slices):
        return nn.functional.gelu(self.cut(slices - 0.3) * 4)


@pytest.fixture
def patches():
    torch.manual_seed(0)
    return Candidate("patches", "patches", Patches().eval().requires_grad_(False), 2, 32, Patches)


QUICK = CompareSettings(
    seeds=1, folds=2, neighbours=(3,), resamples=10, scratch=False, fit=FitSettings(steps=2, batch=4)
)


def test_classes_are_those_at_the_centres_of_the_cells(scans):
    cells = organ_cells(scans, 4, slices_per_scan=3)
    assert cells.organs == ("1", "2")
    assert cells.subjects.tolist() == [f"p{n}" for n in range(6)]
    for n, (slices, classes) in enumerate(zip(cells.slices, cells.classes, strict=True)):
        assert classes.shape == (3, 8, 8)
        for z, s in enumerate(slices):
            assert scans[n].labels[s].any()
            assert classes[z, 2, 2] == scans[n].labels[s, 10, 10]
            assert classes[z, 6, 5] == scans[n].labels[s, 26, 22]


def test_features_are_in_the_order_of_the_classes(scans, candidate, policy):
    cells = organ_cells(scans, 4, slices_per_scan=2)
    found = finish(cell_features(candidate.encoder, scans, cells, policy))
    image = torch.from_numpy(scans[1].image[cells.slices[1]]).float()[:, None] / 255
    grid = candidate.encoder(image)
    assert found[1].shape == (2 * 8 * 8, 16)
    np.testing.assert_allclose(found[1][64 + 8 * 3 + 5], grid[1, :, 3, 5], atol=2e-2)
    assert cells.targets(1, np.array([64 + 8 * 3 + 5])).argmax() == cells.classes[1][1, 3, 5]


def test_draws_are_limited_and_different():
    classes = np.repeat(np.array([0, 1, 2], np.uint8), [100, 30, 3])
    drawn = draw_cells(classes, 3, np.random.default_rng(0), per_class=10)
    assert np.bincount(classes[drawn], minlength=4).tolist() == [40, 10, 3, 0]
    assert len(set(drawn)) == len(drawn)


def test_dice_of_cells():
    truth = np.array([1] * 6 + [2] * 3 + [0] * 7, np.uint8)
    told = np.array([1] * 3 + [0] * 3 + [1] * 3 + [0] * 7, np.uint8)
    found = organ_dice(told, truth, 2)
    assert found[0] == pytest.approx(2 * 3 / (6 + 6))
    assert np.isnan(found[1])  # three cells are too few to be judged by


def test_rows_with_their_baselines(scans, patches, policy):
    settings = replace(QUICK, scratch=True)
    rows = finish(dense_steps([patches], scans, ["knn", "probe", "finetune"], settings, policy=policy))
    assert [(r.weights, r.protocol) for r in rows] == [
        ("patches", "knn 3"),
        ("patches", "probe"),
        ("patches", "finetune full"),
        ("patches, first weights", "knn 3"),
        ("patches, first weights", "probe"),
        ("patches, from scratch", "supervised"),
    ]
    assert {r.main for r in rows} == {"dice"}
    assert rows[1].value > 0.7  # bright blocks are easy
    assert (rows[0].labelled, rows[0].people) == (24, 3)
    assert set(rows[0].by_label) == {"1", "2"}
    low, high = rows[1].over_patients[0].low, rows[1].over_patients[0].high
    assert low <= rows[1].value <= high


def test_training_learns_the_cells(scans, patches, policy):
    fit = FitSettings(steps=400, batch=8, head_rate=1e-2)
    (row,) = finish(dense_steps([patches], scans, [], replace(QUICK, scratch=True, fit=fit), policy=policy))
    assert row.protocol == "supervised"
    assert row.value > 0.7


def test_scans_without_organs_are_explained(scans):
    with pytest.raises(FormatError, match="images/ and labels/"):
        organ_cells([replace(s, labels=None) for s in scans], 4)
