"""Random geometry and appearance: drawn first, applied after."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from napari_medssl.train.augment import (
    Tone,
    Warp,
    apply_grid,
    apply_tone,
    draw_tone,
    draw_warp,
    nearby_tone,
    warp_grid,
)

PLAIN = Tone(np.linspace(0, 1, 7), np.zeros(256), torch.ones(1, 1, 4, 4), 0.0, 0.0)


def noise() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def affine(matrix: list[list[float]]) -> Warp:
    return Warp(torch.tensor(matrix), torch.zeros(1, 2, 6, 6))


def image(size: int = 24) -> torch.Tensor:
    return torch.rand(2, size, size, generator=noise()) * 0.9 + 0.05


def test_no_amount_of_anything_is_the_identity() -> None:
    warp = draw_warp(np.random.default_rng(0), rotation_deg=0, scale=0, shift=0, shear=0, elastic=0)
    torch.testing.assert_close(apply_grid(image(), warp_grid(warp, 24)), image(), atol=1e-5, rtol=0)


def test_the_same_seed_draws_the_same_warp_and_another_a_different_one() -> None:
    first, again, other = (draw_warp(np.random.default_rng(s)) for s in (4, 4, 5))
    assert torch.equal(first.matrix, again.matrix)
    assert torch.equal(first.nodes, again.nodes)
    assert not torch.equal(first.matrix, other.matrix)


def test_a_shift_moves_the_picture_by_its_share_of_half_the_square() -> None:
    # The grid looks 0.25 of half the square (3 of 24 pixels) to the right: the picture moves left.
    moved = apply_grid(image(), warp_grid(affine([[1.0, 0.0, 0.25], [0.0, 1.0, 0.0]]), 24))
    torch.testing.assert_close(moved[:, :, :21], image()[:, :, 3:], atol=1e-5, rtol=0)
    assert moved[:, :, 21:].abs().max() == 0  # what comes from outside is empty


def test_a_quarter_turn_turns_all_channels_alike() -> None:
    turned = apply_grid(image(), warp_grid(affine([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0]]), 24))
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
    turned = apply_grid(labels, warp_grid(affine([[0.9, 0.3, 0.0], [-0.3, 0.9, 0.0]]), 24), nearest=True)
    assert set(turned.unique().tolist()) == {0.0, 7.0}


def test_a_straight_curve_leaves_the_image_except_for_air() -> None:
    picture = image()
    picture[0, 0, :4] = 0.01
    shown = apply_tone(picture, None, PLAIN, noise())
    torch.testing.assert_close(shown[:, 1:], picture[:, 1:], atol=1e-5, rtol=0)
    torch.testing.assert_close(shown[0, 0, :4], torch.full((4,), 0.003), atol=1e-6, rtol=0)


def test_the_curve_is_linear_between_its_knots() -> None:
    tone = dataclasses.replace(PLAIN, curve=np.array([0.0, 0.8, 0.2]))
    at = torch.tensor([0.1, 0.25, 0.5, 0.75, 1.0]).view(1, 1, 5)
    shown = apply_tone(at, None, tone, noise())
    torch.testing.assert_close(shown.flatten(), torch.tensor([0.16, 0.4, 0.8, 0.5, 0.2]))


def test_organs_get_their_own_offset() -> None:
    offsets = np.zeros(256)
    offsets[[3, 200]] = 0.2, -0.1
    labels = torch.tensor([0, 3, 200]).view(1, 1, 3)
    shown = apply_tone(torch.full((1, 1, 3), 0.5), labels, dataclasses.replace(PLAIN, offsets=offsets), noise())
    torch.testing.assert_close(shown.flatten(), torch.tensor([0.5, 0.7, 0.4]))


def test_noise_has_the_strength_asked_for_and_follows_its_generator() -> None:
    tone = dataclasses.replace(PLAIN, noise=0.05)
    flat = torch.full((1, 64, 64), 0.5)
    first, again = (apply_tone(flat, None, tone, noise()) for _ in range(2))
    assert torch.equal(first, again)
    assert float(first.std()) == pytest.approx(0.05, rel=0.1)


def test_blur_keeps_the_mean_and_lowers_the_noise() -> None:
    picture = image(48)
    shown = apply_tone(picture, None, dataclasses.replace(PLAIN, blur=0.8), noise())
    assert float(shown.mean()) == pytest.approx(float(picture.mean()), abs=0.01)
    assert shown.std() < 0.7 * picture.std()


@pytest.mark.parametrize("seed", range(12))
def test_any_appearance_stays_in_range_and_keeps_air_dark(seed: int) -> None:
    tone = draw_tone(np.random.default_rng(seed))
    picture = torch.zeros(1, 32, 32)
    picture[:, 8:24, 8:24] = 0.5
    labels = torch.zeros(1, 32, 32, dtype=torch.int16)
    shown = apply_tone(picture, labels, tone, noise())
    assert 0 <= shown.min() <= shown.max() <= 1
    assert shown[:, :6].mean() < 0.08  # the body outline is measured at 0.08


def test_a_nearby_appearance_is_nearer_than_a_new_one() -> None:
    rng = np.random.default_rng(0)
    near, new = [], []
    for _ in range(20):
        tone = draw_tone(rng)
        near.append(np.abs(nearby_tone(rng, tone).curve - tone.curve).mean())
        new.append(np.abs(draw_tone(rng).curve - tone.curve).mean())
    assert np.mean(near) < 0.05 < np.mean(new)


def test_a_nearby_appearance_gives_no_offset_to_organs_that_had_none() -> None:
    tone = dataclasses.replace(PLAIN, offsets=np.where(np.arange(256) == 5, 0.2, 0.0))
    near = nearby_tone(np.random.default_rng(0), tone)
    assert set(np.flatnonzero(near.offsets)) == {5}
    assert near.curve[0] == tone.curve[0]
