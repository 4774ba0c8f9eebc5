"""Random appearance: drawn first, applied after."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from napari_medssl.transforms.appearance import (
    Appearance,
    apply_appearance,
    draw_appearance,
    nearby_appearance,
    with_alike_organs,
)

PLAIN = Appearance(np.linspace(0, 1, 7), np.zeros(256), torch.ones(1, 1, 4, 4), 0.0, 0.0)


def noise() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def image(size: int = 24) -> torch.Tensor:
    return torch.rand(2, size, size, generator=noise()) * 0.9 + 0.05


def test_a_straight_curve_leaves_the_image_except_for_air() -> None:
    picture = image()
    picture[0, 0, :4] = 0.01
    shown = apply_appearance(picture, None, PLAIN, noise())
    torch.testing.assert_close(shown[:, 1:], picture[:, 1:], atol=1e-5, rtol=0)
    torch.testing.assert_close(shown[0, 0, :4], torch.full((4,), 0.003), atol=1e-6, rtol=0)


def test_the_curve_is_linear_between_its_knots() -> None:
    look = dataclasses.replace(PLAIN, curve=np.array([0.0, 0.8, 0.2]))
    at = torch.tensor([0.1, 0.25, 0.5, 0.75, 1.0]).view(1, 1, 5)
    shown = apply_appearance(at, None, look, noise())
    torch.testing.assert_close(shown.flatten(), torch.tensor([0.16, 0.4, 0.8, 0.5, 0.2]))


def test_organs_get_their_own_offset() -> None:
    offsets = np.zeros(256)
    offsets[[3, 200]] = 0.2, -0.1
    labels = torch.tensor([0, 3, 200]).view(1, 1, 3)
    shown = apply_appearance(torch.full((1, 1, 3), 0.5), labels, dataclasses.replace(PLAIN, offsets=offsets), noise())
    torch.testing.assert_close(shown.flatten(), torch.tensor([0.5, 0.7, 0.4]))


def test_noise_has_the_strength_asked_for_and_follows_its_generator() -> None:
    look = dataclasses.replace(PLAIN, noise=0.05)
    flat = torch.full((1, 64, 64), 0.5)
    first, again = (apply_appearance(flat, None, look, noise()) for _ in range(2))
    assert torch.equal(first, again)
    assert float(first.std()) == pytest.approx(0.05, rel=0.1)


def test_blur_keeps_the_mean_and_lowers_the_noise() -> None:
    picture = image(48)
    shown = apply_appearance(picture, None, dataclasses.replace(PLAIN, blur=0.8), noise())
    assert float(shown.mean()) == pytest.approx(float(picture.mean()), abs=0.01)
    assert shown.std() < 0.7 * picture.std()


@pytest.mark.parametrize("seed", range(12))
def test_any_appearance_stays_in_range_and_keeps_air_dark(seed: int) -> None:
    look = draw_appearance(np.random.default_rng(seed))
    picture = torch.zeros(1, 32, 32)
    picture[:, 8:24, 8:24] = 0.5
    labels = torch.zeros(1, 32, 32, dtype=torch.int16)
    shown = apply_appearance(picture, labels, look, noise())
    assert 0 <= shown.min() <= shown.max() <= 1
    assert shown[:, :6].mean() < 0.08  # the body outline is measured at 0.08


def test_a_nearby_appearance_is_nearer_than_a_new_one() -> None:
    rng = np.random.default_rng(0)
    near, new = [], []
    for _ in range(20):
        look = draw_appearance(rng)
        near.append(np.abs(nearby_appearance(rng, look).curve - look.curve).mean())
        new.append(np.abs(draw_appearance(rng).curve - look.curve).mean())
    assert np.mean(near) < 0.05 < np.mean(new)


def test_a_nearby_appearance_gives_no_offset_to_organs_that_had_none() -> None:
    look = dataclasses.replace(PLAIN, offsets=np.where(np.arange(256) == 5, 0.2, 0.0))
    near = nearby_appearance(np.random.default_rng(0), look)
    assert set(np.flatnonzero(near.offsets)) == {5}
    assert near.curve[0] == look.curve[0]


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_alike_organs_are_as_bright_as_the_one_the_others_are_not(share: float) -> None:
    rng = np.random.default_rng(0)
    labels = np.zeros((2, 30, 30), np.uint8)
    labels[:, 2:10], labels[:, 12:18], labels[:, 20:28] = 3, 7, 9
    values = np.zeros(256, np.float32)
    values[[0, 3, 7, 9]] = 0.1, 0.5, 0.8, 0.3
    picture = values[labels] + rng.normal(0, 0.02, labels.shape).astype(np.float32)
    look = dataclasses.replace(PLAIN, curve=np.array([0.0, 0.7, 0.9]), offsets=np.linspace(0, 0.1, 256))
    alike = with_alike_organs(look, picture, labels, 3, rng, share=share)
    shown = apply_appearance(torch.from_numpy(picture), torch.from_numpy(labels), alike, noise()).numpy()
    means = {organ: float(shown[labels == organ].mean()) for organ in (0, 3, 7, 9)}
    plain = apply_appearance(torch.from_numpy(picture), torch.from_numpy(labels), look, noise()).numpy()
    assert means[3] == pytest.approx(float(plain[labels == 3].mean()), abs=1e-5)  # the organ itself stays
    assert means[0] == pytest.approx(float(plain[labels == 0].mean()), abs=1e-5)
    for other in (7, 9):
        assert (abs(means[other] - means[3]) < 0.08) == bool(share)
