"""Random geometry: drawn first, applied after."""

from __future__ import annotations

import numpy as np
import torch

from napari_medssl.transforms.warp import Warp, draw_warp, sample, warp_grid


def affine(matrix: list[list[float]]) -> Warp:
    return Warp(torch.tensor(matrix), torch.zeros(1, 2, 6, 6))


def image(size: int = 24) -> torch.Tensor:
    return torch.rand(2, size, size, generator=torch.Generator().manual_seed(0)) * 0.9 + 0.05


def test_no_amount_of_anything_is_the_identity() -> None:
    warp = draw_warp(np.random.default_rng(0), rotation_deg=0, scale=0, shift=0, shear=0, elastic=0)
    torch.testing.assert_close(sample(image(), warp_grid(warp, 24)), image(), atol=1e-5, rtol=0)


def test_the_same_seed_draws_the_same_warp_and_another_a_different_one() -> None:
    first, again, other = (draw_warp(np.random.default_rng(s)) for s in (4, 4, 5))
    assert torch.equal(first.matrix, again.matrix)
    assert torch.equal(first.nodes, again.nodes)
    assert not torch.equal(first.matrix, other.matrix)


def test_a_shift_moves_the_picture_by_its_share_of_half_the_square() -> None:
    # The grid looks 0.25 of half the square (3 of 24 pixels) to the right: the picture moves left.
    moved = sample(image(), warp_grid(affine([[1.0, 0.0, 0.25], [0.0, 1.0, 0.0]]), 24))
    torch.testing.assert_close(moved[:, :, :21], image()[:, :, 3:], atol=1e-5, rtol=0)
    assert moved[:, :, 21:].abs().max() == 0  # what comes from outside is empty


def test_a_quarter_turn_turns_all_channels_alike() -> None:
    turned = sample(image(), warp_grid(affine([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0]]), 24))
    assert min((turned - image().rot90(k, (1, 2))).abs().max() for k in (1, 3)) < 1e-5


def test_elastic_displacement_is_smooth_and_of_the_size_asked_for() -> None:
    warp = draw_warp(np.random.default_rng(1), rotation_deg=0, scale=0, shift=0, shear=0, elastic=0.05)
    still = draw_warp(np.random.default_rng(1), rotation_deg=0, scale=0, shift=0, shear=0, elastic=0)
    bend = warp_grid(warp, 96) - warp_grid(still, 96)
    assert 0.02 < bend.std() < 0.06
    assert bend.diff(dim=1).abs().max() < 0.02  # 96 pixels between 6 nodes: neighbours move together


def test_amounts_are_bounds() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        matrix = draw_warp(rng, rotation_deg=10, scale=0.2, shift=0.1, shear=0, elastic=0).matrix.double().numpy()
        angle = np.rad2deg(np.arctan2(matrix[1, 0], matrix[0, 0]))
        assert abs(angle) <= 10.001
        assert np.abs(matrix[:, 2]).max() <= 0.1
        assert np.abs(np.log(np.linalg.norm(matrix[:, :2], axis=0))).max() <= 0.2 * 1.35 + 1e-6


def test_labels_are_picked_not_mixed() -> None:
    labels = torch.zeros(1, 24, 24)
    labels[:, :, 12:] = 7
    turned = sample(labels, warp_grid(affine([[0.9, 0.3, 0.0], [-0.3, 0.9, 0.0]]), 24), nearest=True)
    assert set(turned.unique().tolist()) == {0.0, 7.0}
