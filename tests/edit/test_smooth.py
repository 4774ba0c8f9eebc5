"""Smoothing in millimetres, against the closed form of a smoothed ball."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import erf

from napari_medssl.edit import Scope, edit
from napari_medssl.edit.smooth import Smooth
from tests.edit.grids import boxed, label_map, radius_mm


def smooth(mask: np.ndarray, operation: Smooth, spacing: tuple[float, float, float]) -> np.ndarray:
    labels = label_map(mask, spacing)
    return edit(labels, operation, scope=Scope(organs=(1,))).applied(labels.data) == 1


def radius_after(radius: float, sigma: float) -> float:
    """Where the indicator of a ball, smoothed in 3D, is one half (integral of the Gaussian over the ball)."""

    def value(r: float) -> float:
        root = np.sqrt(2) * sigma
        plain = 0.5 * (erf((radius + r) / root) + erf((radius - r) / root))
        ends = np.exp(-((radius - r) ** 2) / root**2) - np.exp(-((radius + r) ** 2) / root**2)
        return float(plain - sigma / (r * np.sqrt(2 * np.pi)) * ends - 0.5)

    return float(brentq(value, 0.1, radius + sigma))


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 0.8, 1.25)])
def test_a_ball_shrinks_as_the_integral_says(spacing: tuple[float, float, float]) -> None:
    shape = tuple(2 * int(14 / s) + 1 for s in spacing)
    distance = radius_mm(shape, spacing)
    made = smooth(distance <= 10, Smooth(3.0, keep_volume=False), spacing)
    expected = radius_after(10, 3.0)
    assert expected < 9.2, "one can see the difference"
    found = (3 * made.sum() * np.prod(spacing) / (4 * np.pi)) ** (1 / 3)
    assert found == pytest.approx(expected, abs=0.12)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 0.8, 1.25)])
def test_the_volume_stays(spacing: tuple[float, float, float]) -> None:
    rng = np.random.default_rng(3)
    distance = radius_mm((13, 25, 23), spacing) + rng.normal(0, 1.5, (13, 25, 23))
    mask = distance <= 8
    made = smooth(mask, Smooth(2.0), spacing)
    assert abs(int(made.sum()) - int(mask.sum())) <= 2
    assert (np.diff(made.astype(int), axis=1) != 0).sum() < 0.8 * (np.diff(mask.astype(int), axis=1) != 0).sum()


def test_a_plane_stays_where_it_is() -> None:
    half = boxed((6, 20, 20), (0, 6), (0, 9), (0, 20))
    for keep in (False, True):
        np.testing.assert_array_equal(smooth(half, Smooth(3.0, keep_volume=keep), (2, 1, 1)), half)


def test_thick_slices_do_not_mix() -> None:
    mask = boxed((5, 20, 20), (2, 3), (5, 15), (5, 15))
    made = smooth(mask, Smooth(1.0), (8, 1, 1))
    assert np.flatnonzero(made.any(axis=(1, 2))).tolist() == [2]


def test_slice_by_slice_keeps_each_area() -> None:
    mask = radius_mm((7, 30, 30), (1, 1, 1)) <= 12
    mask[3] = boxed((1, 30, 30), (0, 1), (5, 25), (10, 20))[0]
    made = smooth(mask, Smooth(2.0, slice_by_slice=True), (1, 1, 1))
    areas = np.abs(made.sum(axis=(1, 2)) - mask.sum(axis=(1, 2)))
    assert areas.max() <= 4  # symmetric slices have up to eight equal values
    np.testing.assert_array_equal(made[3], smooth(mask[3:4], Smooth(2.0), (1, 1, 1))[0])


def test_two_organs_share_a_smooth_border() -> None:
    data = np.zeros((1, 30, 30), np.uint8)
    jagged = 15 + 3 * (np.arange(30) // 3 % 2)
    for y in range(4, 26):
        data[0, y, 4 : jagged[y]], data[0, y, jagged[y] : 26] = 1, 2
    labels = label_map(data, (1, 1, 1))
    made = edit(labels, Smooth(3.0)).applied(data)
    inner = made[0, 8:22, 10:22]
    assert (inner > 0).all(), "no gap opens between them"
    assert np.ptp((inner == 1).sum(axis=1)) < np.ptp((data[0, 8:22, 10:22] == 1).sum(axis=1))
