"""How far a painted change spreads."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from napari_medssl.oneshot.spreading import Spread, block_means, enlarge, spread_change

ONE_MM = (1.0, 1.0, 1.0)


def _line(n: int) -> tuple[np.ndarray, np.ndarray]:
    change, fixed = np.zeros((1, 1, n), np.float32), np.zeros((1, 1, n), bool)
    change[..., 0], fixed[..., 0] = 1, True
    return change, fixed


def _dense(change: np.ndarray, fixed: np.ndarray, image: np.ndarray, spacing: float, how: Spread) -> np.ndarray:
    """The same minimum on a line, from the matrix of the quadratic form."""
    n = change.size
    links = np.exp(-how.image_edge * (np.diff(image.ravel()) / image.std()) ** 2) + 1e-3
    form = np.eye(n)
    for i, w in enumerate(links * (how.length_mm / spacing) ** 2):
        form[i : i + 2, i : i + 2] += w * np.array([[1, -1], [-1, 1]])
    free = ~fixed.ravel()
    u = np.where(fixed, change, 0).ravel().astype(float)
    u[free] = np.linalg.solve(form[np.ix_(free, free)], -form[np.ix_(free, ~free)] @ u[~free])
    return u


def test_it_is_the_minimum_of_the_energy() -> None:
    rng = np.random.default_rng(0)
    change, fixed = _line(24)
    image = rng.random((1, 1, 24)).astype(np.float32)
    how = Spread(length_mm=6.0, image_edge=0.5, map_edge=0.0)
    flat = np.zeros_like(change)
    found = spread_change(change, fixed, flat, image, spacing_mm=(5.0, 2.0, 1.5), how=how)
    np.testing.assert_allclose(found.ravel(), _dense(change, fixed, image, 1.5, how), atol=0.02)


@pytest.mark.parametrize("spacing", [0.5, 2.0])
def test_in_even_tissue_it_falls_to_a_third_over_its_length_in_mm(spacing: float) -> None:
    change, fixed = _line(200)
    even = np.zeros_like(change)
    found = spread_change(change, fixed, even, even, spacing_mm=(1.0, 1.0, spacing), how=Spread(length_mm=10.0)).ravel()
    assert found[round(10 / spacing)] == pytest.approx(np.exp(-1), abs=0.03)


def test_an_edge_of_the_image_stops_it_and_so_does_one_of_the_map() -> None:
    change, fixed = _line(20)
    flat, step = np.zeros_like(change), np.zeros_like(change)
    step[..., 10:] = 1
    for image, probability in ((step, flat), (flat, step)):
        how = Spread(length_mm=40.0, image_edge=20.0, map_edge=20.0)
        found = spread_change(change, fixed, probability, image, spacing_mm=ONE_MM, how=how).ravel()
        assert found[9] > 0.9
        assert found[10] < 0.7 * found[9]


def test_nothing_painted_changes_nothing() -> None:
    none = np.zeros((2, 5, 5), np.float32)
    assert not spread_change(none, none > 1, none + 0.5, none, spacing_mm=ONE_MM, how=Spread()).any()


def test_a_large_region_is_solved_on_blocks_and_stays_exact_where_painted() -> None:
    rng = np.random.default_rng(1)
    shape = (6, 40, 40)
    change, fixed = np.zeros(shape, np.float32), np.zeros(shape, bool)
    fixed[3, 18:21, 10:25] = True
    change[fixed] = -0.8
    flat, image = np.full(shape, 0.5, np.float32), rng.normal(0.5, 0.01, shape).astype(np.float32)
    how = Spread(length_mm=10.0, image_edge=0.1)
    fine = spread_change(change, fixed, flat, image, spacing_mm=(3.0, 1.0, 1.0), how=how)
    rough = spread_change(
        change, fixed, flat, image, spacing_mm=(3.0, 1.0, 1.0), how=dataclasses.replace(how, nodes=3000)
    )
    assert (rough[fixed] == np.float32(-0.8)).all()
    assert np.abs(rough - fine).mean() < 0.04
    assert rough[~fixed].min() >= -0.81


def test_blocks_of_even_data_come_back_even() -> None:
    data = np.full((5, 7, 9), 0.3, np.float32)
    small = block_means(data, (2, 3))
    assert small.shape == (3, 3, 3)
    np.testing.assert_allclose(enlarge(small, (2, 3), data.shape), data, rtol=1e-6)
