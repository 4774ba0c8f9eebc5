"""Finding an organ by its features."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from napari_medssl.oneshot.matching import cell_cover, cell_prototypes, match_logits


def marked() -> tuple[Tensor, Tensor]:
    """(D, h, w) features of which a 3 x 4 block differs, and its cover."""
    features = torch.zeros(6, 12, 12)
    features[0] = 1
    features[1, 4:7, 5:9] = 5
    cover = torch.zeros(12, 12)
    cover[4:7, 5:9] = 1
    return features, cover


def test_foreground_is_every_covered_cell_and_their_mean() -> None:
    features, cover = marked()
    features[2] = torch.arange(144.0).view(12, 12)
    found = cell_prototypes(features, cover)
    assert found.foreground.shape == (13, 6)
    inside = features[:, 4:7, 5:9].reshape(6, 12).T
    torch.testing.assert_close(found.foreground[:12], inside)
    torch.testing.assert_close(found.foreground[12], inside.mean(0))


def test_the_mean_weighs_cells_by_their_cover() -> None:
    features, cover = torch.zeros(2, 4, 4), torch.zeros(4, 4)
    features[0, 0, 0], features[0, 0, 1] = 10, 20
    cover[0, 0], cover[0, 1] = 1, 0.25
    mean = cell_prototypes(features, cover).foreground[-1]
    assert float(mean[0]) == pytest.approx((10 + 0.25 * 20) / 1.25)


def test_background_is_the_mean_of_windows_free_of_the_organ() -> None:
    features, cover = marked()
    found = cell_prototypes(features, cover)
    # 36 windows of 2 x 2; rows 4-6 touch window rows 2 and 3, columns 5-8 touch window columns 2 to 4.
    assert len(found.background) == 36 - 2 * 3
    assert (found.background[:, 1] == 0).all()


def test_an_organ_smaller_than_a_cell_keeps_its_fullest_cells() -> None:
    features, cover = marked()
    cover = torch.zeros(12, 12)
    cover[3, 3], cover[3, 4] = 0.2, 0.1
    found = cell_prototypes(features, cover)
    assert len(found.foreground) == 2  # one cell and the mean
    assert torch.equal(found.foreground[0], features[:, 3, 3])


def test_an_organ_that_fills_the_slice_leaves_some_background() -> None:
    features, _ = marked()
    found = cell_prototypes(features, torch.ones(12, 12))
    assert len(found.background) == 36


def test_matching_finds_the_moved_organ() -> None:
    features, cover = marked()
    query = torch.stack([features, features.roll((3, -2), (1, 2))])
    found = match_logits(cell_prototypes(features, cover), query)
    assert found.shape == (2, 12, 12)
    expected = torch.stack([cover, cover.roll((3, -2), (0, 1))]) > 0
    assert torch.equal(found > 0, expected)


def test_matching_does_not_depend_on_the_length_of_features() -> None:
    features, cover = marked()
    prototypes = cell_prototypes(features, cover)
    torch.testing.assert_close(match_logits(prototypes, 9 * features[None]), match_logits(prototypes, features[None]))


def test_matching_can_be_learned_through() -> None:
    features, cover = marked()
    features = (features + 0.1 * torch.randn(6, 12, 12, generator=torch.Generator().manual_seed(0))).requires_grad_()
    match_logits(cell_prototypes(features, cover), features[None]).sum().backward()
    assert features.grad is not None
    assert features.grad.isfinite().all()
    assert features.grad.abs().sum() > 0


def test_cover_is_the_share_of_each_cell() -> None:
    mask = torch.zeros(1, 16, 16)
    mask[0, :6, :4] = 1
    found = cell_cover(mask, (4, 4))[0]
    expected = torch.zeros(4, 4)
    expected[0, 0], expected[1, 0] = 1, 0.5
    torch.testing.assert_close(found, expected)
