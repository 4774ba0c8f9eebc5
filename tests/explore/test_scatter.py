"""The linked plot and its lasso."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from skimage.measure import points_in_poly

from napari_medssl.errors import GeometryError, SettingsError
from napari_medssl.explore.colours import fit_colours
from napari_medssl.explore.scatter import lasso_mask, scatter
from napari_medssl.volume import Volume
from tests.explore.explored import ENCODER, organ_grid, organs


def test_a_lasso_around_an_organs_points_is_the_organ():
    grid = organ_grid(noise=0.02)
    region = organs() > 0
    chosen = scatter(grid, fit_colours(grid), region, shown=50)
    assert len(chosen.cells) == region.sum()
    assert len(chosen.shown) == 50
    own = chosen.points[organs().ravel()[chosen.cells] == 3]
    (x0, y0), (x1, y1) = own.min(0) - 0.01, own.max(0) + 0.01
    box = [[x0, y0], [x1, y0], [x1, y1], [x0, y1]]
    np.testing.assert_array_equal(chosen.mask(box), organs() == 3)
    scan = Volume(np.zeros((24, 20, 24)), np.diag([1.0, 1, 1, 1]))
    scan.affine[:3, 3] = (-1.5, -0.5, -0.5)
    expected = (organs() == 3).repeat(4, 0).repeat(2, 1).repeat(2, 2)
    np.testing.assert_array_equal(lasso_mask(chosen, box, grid, scan), expected)


def test_points_and_colours_are_those_of_the_overlay():
    grid = organ_grid()
    colours = fit_colours(grid, components=4)
    chosen = scatter(grid, colours, organs() == 2, components=(3, 1))
    np.testing.assert_allclose(chosen.points, colours.components(grid)[organs() == 2][:, [3, 1]], atol=1e-4)
    np.testing.assert_allclose(chosen.colours, colours.rgb(grid)[organs() == 2], atol=1e-4)
    cell = tuple(int(i) for i in np.argwhere(organs() == 2)[5])
    np.testing.assert_array_equal(chosen.point_of(cell), chosen.points[5])
    assert chosen.point_of((0, 0, 0)) is None
    assert chosen.point_of((-1, 99, 0)) is None


def test_the_lasso_agrees_with_another_implementation_also_when_it_crosses_itself():
    chosen = scatter(organ_grid(), fit_colours(organ_grid()))
    rng = np.random.default_rng(0)
    moved = replace(chosen, points=rng.normal(size=(2000, 2)).astype(np.float32), cells=np.arange(2000))
    for corners in (3, 7, 12):
        polygon = rng.normal(size=(corners, 2))
        np.testing.assert_array_equal(moved.inside(polygon), points_in_poly(moved.points, polygon))


def test_degenerate_lassos_hold_nothing_and_wrong_ones_are_told():
    chosen = scatter(organ_grid(), fit_colours(organ_grid()))
    assert not chosen.mask([]).any()
    assert not chosen.mask([[0, 0], [1, 1]]).any()
    with pytest.raises(SettingsError, match=r"\(K, 2\) corners"):
        chosen.mask([[0, 0, 0]])
    with pytest.raises(SettingsError, match="components"):
        scatter(organ_grid(), fit_colours(organ_grid()), components=(0, 3))
    with pytest.raises(GeometryError, match="extract both"):
        scatter(replace(organ_grid(), encoder={**ENCODER, "name": "x"}), fit_colours(organ_grid()))
