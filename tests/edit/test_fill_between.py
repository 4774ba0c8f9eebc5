"""Interpolated slices of shapes whose slices are known."""

from __future__ import annotations

import numpy as np
import pytest

from napari_medssl.edit import Scope, edit
from napari_medssl.edit.fill_between import FillBetween, signed_distance
from napari_medssl.errors import SettingsError
from tests.edit.grids import boxed, label_map

SPACING = (5.0, 1.0, 1.25)
SHAPE = (9, 60, 50)


def disc(radius_mm: float, at: tuple[float, float] = (30, 25)) -> np.ndarray:
    y, x = np.indices(SHAPE[1:])
    return np.hypot((y - at[0]) * SPACING[1], (x - at[1]) * SPACING[2]) <= radius_mm


def fill(mask: np.ndarray, operation: FillBetween | None = None, **scope: object) -> np.ndarray:
    labels = label_map(mask, SPACING)
    done = edit(labels, operation or FillBetween(), scope=Scope(organs=(1,), **scope))  # type: ignore[arg-type]
    return done.applied(labels.data) == 1


def only(mask: np.ndarray, *slices: int) -> np.ndarray:
    kept = np.zeros_like(mask)
    kept[list(slices)] = mask[list(slices)]
    return kept


def test_a_cylinder_comes_back_exactly() -> None:
    cylinder = np.zeros(SHAPE, bool)
    cylinder[1:8] = disc(14)
    np.testing.assert_array_equal(fill(only(cylinder, 1, 7)), cylinder)
    np.testing.assert_array_equal(fill(only(cylinder, 1, 3, 7)), cylinder)


def test_an_oblique_cylinder_comes_back_exactly() -> None:
    cylinder = np.stack([disc(9, (16 + 3 * z, 30 - z)) for z in range(9)])
    np.testing.assert_array_equal(fill(only(cylinder, 0, 8)), cylinder)


def test_an_oblique_box_keeps_its_thickness() -> None:
    box = np.stack([boxed((1, *SHAPE[1:]), (0, 1), (10 + 2 * z, 25 + 2 * z), (10, 30))[0] for z in range(9)])
    np.testing.assert_array_equal(fill(only(box, 0, 8)), box)


def test_between_circles_the_radius_is_linear() -> None:
    ends = np.zeros(SHAPE, bool)
    ends[0], ends[8] = disc(20), disc(8)
    made = fill(ends)
    for z in range(1, 8):
        radius = 20 - 12 * z / 8
        area = made[z].sum() * SPACING[1] * SPACING[2]
        assert np.sqrt(area / np.pi) == pytest.approx(radius, abs=0.4), "a third of a pixel"
        assert (disc(radius - 1.25) <= made[z]).all()
        assert (made[z] <= disc(radius + 1.25)).all()


def test_where_a_part_begins_the_rest_stays() -> None:
    left, right = disc(8, (30, 12)), disc(8, (30, 36))
    ends = np.zeros(SHAPE, bool)
    ends[2], ends[6] = left, left | right
    made = fill(ends)
    for z in (3, 4, 5):
        assert (made[z] >= left).all()
        assert not made[z, :, 22:26].any(), "nothing moves to the middle between them"


def test_the_nearest_labelled_slices_count_and_nothing_beyond() -> None:
    sparse = np.zeros(SHAPE, bool)
    sparse[2], sparse[4], sparse[6] = disc(6), disc(12), disc(6)
    made = fill(sparse)
    assert np.flatnonzero(made.any(axis=(1, 2))).tolist() == [2, 3, 4, 5, 6]
    np.testing.assert_array_equal(made[[2, 4, 6]], sparse[[2, 4, 6]])
    np.testing.assert_array_equal(made[3], made[5])


def test_from_painted_slices_those_between_are_redone() -> None:
    cylinder = np.zeros(SHAPE, bool)
    cylinder[1:8] = disc(14)
    spoilt = cylinder.copy()
    spoilt[4] = disc(3)
    np.testing.assert_array_equal(fill(spoilt), spoilt, err_msg="no slice is missing")
    painted = only(cylinder, 1, 6).astype(np.uint8)
    np.testing.assert_array_equal(fill(spoilt, FillBetween("painted"), painted=painted), cylinder)


def test_chosen_slices_are_made_anew_unless_painted() -> None:
    cylinder = np.zeros(SHAPE, bool)
    cylinder[1:8] = disc(14)
    spoilt = cylinder.copy()
    spoilt[4] = disc(3)
    np.testing.assert_array_equal(fill(spoilt, slices=(4, 5)), cylinder)
    painted = only(spoilt, 4).astype(np.uint8)
    np.testing.assert_array_equal(fill(spoilt, slices=(4, 5), painted=painted), spoilt)


def test_one_slice_is_not_enough() -> None:
    with pytest.raises(SettingsError, match="organ 1 is labelled on 1 of .* needs two: label it on one more"):
        fill(only(np.ones(SHAPE, bool), 3))
    with pytest.raises(SettingsError, match="organ 1 is painted on 0 of"):
        fill(np.ones(SHAPE, bool), FillBetween("painted"))


def test_the_distance_is_signed_and_in_mm() -> None:
    y = np.arange(20)
    distance = signed_distance(np.broadcast_to((y >= 8) & (y < 14), (30, 20)).T, (1.0, 1.0))
    np.testing.assert_allclose(distance[:, 15], np.minimum(y - 7.5, 13.5 - y))


def test_an_organ_that_fills_its_slice() -> None:
    full = np.ones((3, 4, 4), bool)
    full[1] = False
    labels = label_map(full)
    assert edit(labels, FillBetween()).applied(labels.data).all()
