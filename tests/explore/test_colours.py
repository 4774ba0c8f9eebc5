"""Colours of principal components: stable, shared between scans, defined at the edges."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import zarr

from napari_medssl.dense.grid import FeatureGrid
from napari_medssl.errors import FormatError, GeometryError, SettingsError, VolumeError
from napari_medssl.explore.colours import fit_colours, load_colours
from tests.explore.explored import ENCODER, organ_grid, organs


def test_an_organ_has_one_colour_in_two_scans_and_organs_differ():
    first, second = organ_grid(seed=0), organ_grid(seed=1)
    colours = fit_colours(first)
    a, b = colours.rgb(first), colours.rgb(second)
    means = [[rgb[organs() == n].mean(0) for n in range(4)] for rgb in (a, b)]
    np.testing.assert_allclose(*means, atol=0.03)
    apart = np.linalg.norm(np.array(means[0])[:, None] - np.array(means[0]), axis=-1)
    assert apart[~np.eye(4, dtype=bool)].min() > 0.3
    assert (a.dtype, a.shape, a.min() >= 0, a.max() <= 1) == (np.float32, (6, 10, 12, 3), True, True)


def test_components_are_those_of_a_singular_value_decomposition():
    grid = organ_grid(noise=1.0)
    colours = fit_colours(grid, components=4)
    x = grid.vectors().astype(np.float64)
    x = np.clip(x, *np.percentile(x, (1, 99), axis=0))
    x = (x - x.mean(0)) / x.std(0)
    _, values, axes = np.linalg.svd(x, full_matrices=False)
    np.testing.assert_allclose(np.abs(colours.axes @ axes[:4].T), np.eye(4), atol=1e-3)
    np.testing.assert_allclose(colours.shares, (values**2 / (values**2).sum())[:4], rtol=1e-3)
    np.testing.assert_allclose(colours.components(grid).reshape(-1, 4), x @ colours.axes.T, atol=1e-3)


def test_signs_do_not_depend_on_the_order_of_channels_or_ties():
    rng = np.random.default_rng(0)
    line = rng.normal(size=500)
    data = np.stack([line, -line]).reshape(2, 5, 10, 10)  # loadings of equal magnitude: the first decides
    assert fit_colours(FeatureGrid(data, np.eye(4)), components=1).axes[0, 0] > 0
    assert fit_colours(FeatureGrid(-data, np.eye(4)), components=1).axes[0, 0] > 0


def test_a_mask_limits_the_fit_and_blackens_the_rest():
    grid, body = organ_grid(), organs() > 0
    far = grid.data.copy()
    far[:, ~body] = 1000.0
    other = replace(grid, data=far)
    np.testing.assert_allclose(fit_colours(other, body).axes, fit_colours(grid, body).axes, atol=1e-5)
    rgb = fit_colours(grid, body).rgb(grid, body)
    assert (rgb[~body] == 0).all()
    assert rgb[body].max() > 0.9


def test_half_precision_on_disk_gives_the_same_colours(tmp_path):
    grid = organ_grid(dtype=np.float16)
    lazy = replace(grid, data=zarr.create_array(tmp_path / "g.zarr", data=grid.data, chunks=(4, 2, 10, 12)))
    np.testing.assert_array_equal(fit_colours(lazy).rgb(lazy), fit_colours(grid).rgb(grid))


def test_constant_channels_drop_out_and_missing_components_are_grey():
    rng = np.random.default_rng(0)
    data = np.stack([np.full((1, 6, 7), 3.0), rng.normal(size=(1, 6, 7))]).astype(np.float32)
    colours = fit_colours(FeatureGrid(data, np.eye(4)))
    assert colours.count == 1
    assert colours.axes[0, 0] == 0
    rgb = colours.rgb(FeatureGrid(data, np.eye(4)))
    assert np.isfinite(rgb).all()
    assert (rgb[..., 1:] == 0.5).all()
    assert rgb[..., 0].std() > 0.1


def test_equal_vectors_and_wrong_requests_are_told():
    with pytest.raises(VolumeError, match="all feature vectors are equal"):
        fit_colours(FeatureGrid(np.ones((4, 2, 3, 3), np.float16), np.eye(4)))
    with pytest.raises(SettingsError, match="percentiles"):
        fit_colours(organ_grid(), percentiles=(98, 2))
    colours = fit_colours(organ_grid())
    with pytest.raises(GeometryError, match="extract both scans with the same weights"):
        colours.rgb(replace(organ_grid(), encoder={**ENCODER, "name": "vit3d"}))


def test_saved_colours_come_back_and_bad_files_are_told(tmp_path):
    grid = organ_grid()
    colours = fit_colours(grid)
    colours.save(tmp_path / "c.npz")
    np.testing.assert_array_equal(load_colours(tmp_path / "c.npz").rgb(grid), colours.rgb(grid))
    with pytest.raises(FormatError, match="call it c.npz"):
        colours.save(tmp_path / "c.pkl")
    (tmp_path / "bad.npz").write_bytes((tmp_path / "c.npz").read_bytes()[:300])
    with pytest.raises(FormatError, match="cut off or damaged"):
        load_colours(tmp_path / "bad.npz")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(FormatError, match="holds no colour map"):
        load_colours(tmp_path / "other.npz")
    np.savez(tmp_path / "pickle.npz", card=np.array({"a": 1}, dtype=object))
    with pytest.raises(FormatError, match="no colour map"):
        load_colours(tmp_path / "pickle.npz")
