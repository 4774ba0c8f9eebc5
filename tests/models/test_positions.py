"""Position codes: distinct, bounded, and the same place on a finer grid."""

from __future__ import annotations

import math

import torch

from napari_medssl.models.positions import sine_positions


def test_hand_value() -> None:
    codes = sine_positions((2, 3), (2, 3), 8)  # two frequencies an axis: 1 and 1/100
    assert codes.shape == (6, 8)
    y, x = 1, 2  # the last cell
    angles = [y, y / 100, x, x / 100]
    expected = [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
    torch.testing.assert_close(codes[5], torch.tensor(expected))


def test_channels_left_over_are_zero() -> None:
    codes = sine_positions((2, 2, 2), (2, 2, 2), 16)  # 2 * 3 axes * 2 frequencies, 4 left
    assert codes.shape == (8, 16)
    assert not codes[:, 12:].any()
    assert len(codes.unique(dim=0)) == 8


def test_the_same_field_of_view_on_another_grid() -> None:
    fine = sine_positions((9, 3), (3, 3), 64).view(9, 3, 64)
    coarse = sine_positions((3, 3), (3, 3), 64).view(3, 3, 64)
    torch.testing.assert_close(fine[1::3], coarse)  # of three fine cells the middle one has the coarse cell's centre
