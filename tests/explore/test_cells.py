"""Reading grids in slabs, in memory and on disk, and refusing other spaces."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import zarr

from napari_medssl.errors import GeometryError
from napari_medssl.explore import cells
from napari_medssl.explore.cells import check_space, chosen_cells, finite, slabs, space_of, vectors_of
from tests.explore.explored import organ_grid, organs


@pytest.fixture
def small_slabs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "SLAB_BYTES", 4 * 8 * 10 * 12 * 2)  # two slices of the small grids


@pytest.mark.usefixtures("small_slabs")
@pytest.mark.parametrize("on_disk", [False, True])
def test_slabs_and_chosen_vectors_are_the_grid(on_disk, tmp_path):
    grid = organ_grid()
    whole = grid.vectors()
    if on_disk:
        grid = replace(grid, data=zarr.create_array(tmp_path / "g.zarr", data=grid.data, chunks=(8, 4, 5, 5)))
    parts = list(slabs(grid))
    assert [high - low for low, high, _ in parts] == ([4, 2] if on_disk else [2, 2, 2])  # whole chunks
    np.testing.assert_array_equal(np.concatenate([b for *_, b in parts], 1).reshape(8, -1).T, whole)
    some = np.random.default_rng(0).choice(720, 50, replace=False)
    np.testing.assert_array_equal(vectors_of(grid, some), whole[some])


@pytest.mark.usefixtures("small_slabs")
def test_a_halo_reaches_into_the_neighbours_only_where_there_are_any():
    assert [block.shape[1] for *_, block in slabs(organ_grid(), halo=1)] == [3, 4, 3]


def test_what_is_no_number_counts_as_zero_and_the_grid_stays_as_it_is():
    data = np.array([1.0, np.nan, np.inf, -np.inf], np.float16).reshape(1, 1, 1, 4)
    np.testing.assert_array_equal(finite(data).ravel(), [1, 0, 0, 0])
    assert np.isnan(data[0, 0, 0, 1])
    good = np.ones(3, np.float32)
    assert finite(good) is good


def test_the_choice_of_cells_is_inside_the_mask_and_the_same_again():
    grid, mask = organ_grid(), organs() == 3
    found = chosen_cells(grid, mask, count=10, seed=1)
    assert len(found) == 10
    assert mask.ravel()[found].all()
    np.testing.assert_array_equal(found, chosen_cells(grid, mask, count=10, seed=1))
    np.testing.assert_array_equal(chosen_cells(grid, mask), np.flatnonzero(mask))


def test_masks_that_do_not_fit_are_refused():
    with pytest.raises(GeometryError, match=r"mask of shape \(2, 2, 2\) does not fit a grid of \(6, 10, 12\)"):
        chosen_cells(organ_grid(), np.ones((2, 2, 2), bool))
    with pytest.raises(GeometryError, match="holds no cell"):
        chosen_cells(organ_grid(), np.zeros((6, 10, 12), bool))


def test_another_space_is_refused_by_name():
    grid = organ_grid()
    other = replace(grid, encoder={**grid.encoder, "weights_sha256": "b" * 64, "stages": (3,)})
    check_space(replace(grid, encoder={**grid.encoder, "stages": (4,), "precision": "16"}), space_of(grid), "x is")
    with pytest.raises(GeometryError, match="8 channels of stages 4 of unet3d .weights aaaaaaaa.*stages 3.*bbbbbbbb"):
        check_space(other, space_of(grid), "these colours are")
