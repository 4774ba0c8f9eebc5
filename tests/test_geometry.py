"""Axes, grids and moves between index and millimetres, against closed forms."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from napari_medssl.errors import GeometryError
from napari_medssl.geometry import (
    align_to,
    axis_ends,
    display_scale,
    display_translate,
    index_from_world,
    is_oblique,
    is_sheared,
    native_grid,
    orientation_codes,
    patient_axis_signs,
    plane_name,
    same_grid,
    slice_axis,
    world_from_index,
)
from napari_medssl.io.modality import guess_modality
from napari_medssl.labels import Label
from napari_medssl.volume import Volume


def turn_about_z(degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def affine_of(matrix, origin=(0, 0, 0)) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = matrix
    affine[:3, 3] = origin
    return affine


@pytest.mark.parametrize(
    ("spacing", "shape", "axis"),
    [
        ((1, 1, 1), (9, 9, 9), 2),
        ((5, 1, 1), (9, 9, 9), 0),
        ((1, 3, 1), (9, 9, 9), 1),
        ((1, 1.1, 1), (9, 9, 9), 2),  # not clearly thicker
        ((1, 1.2, 1), (9, 9, 9), 1),
        ((3, 3, 1), (9, 9, 9), 2),  # two thick axes decide nothing
        ((1, 1, 1), (9, 1, 9), 1),
        ((5, 1, 1), (9, 1, 9), 1),
    ],
)
def test_slice_axis(spacing, shape, axis):
    assert slice_axis(np.diag([*map(float, spacing), 1.0]), shape) == axis


def test_slice_axis_ignores_rounding_of_single_precision():
    rng = np.random.default_rng(0)
    for _ in range(50):
        affine = affine_of(turn_about_z(45) @ np.diag([1, 1, 1.2]), rng.normal(0, 100, 3))
        rounded = affine.astype(np.float32).astype(np.float64)
        assert native_grid(affine, (4, 5, 6)).axes == native_grid(rounded, (4, 5, 6)).axes
        assert native_grid(affine, (4, 5, 6)).flips == native_grid(rounded, (4, 5, 6)).flips


def test_axis_letters(tiny_volume):
    assert axis_ends(tiny_volume) == (("I", "S"), ("A", "P"), ("R", "L"))
    assert orientation_codes(tiny_volume) == ("I>S", "A>P", "R>L")
    assert patient_axis_signs(tiny_volume) == {
        "R": (2, -1),
        "L": (2, 1),
        "A": (1, -1),
        "P": (1, 1),
        "S": (0, 1),
        "I": (0, -1),
    }
    assert plane_name(tiny_volume) == "axial"


def test_oblique_axes_go_to_their_nearest_letter():
    volume = Volume(np.zeros((2, 3, 4)), affine_of(turn_about_z(30)[:, [2, 1, 0]] * (1, -1, -1)))
    assert orientation_codes(volume) == ("I>S", "A>P", "R>L")
    assert is_oblique(volume.affine)
    assert not is_sheared(volume.affine)


def test_shear():
    assert is_sheared(affine_of([[1, 0, 0], [0, 1, 0.1], [0, 0, 3]]))
    assert not is_sheared(affine_of(turn_about_z(17) @ np.diag([1, 2, 3])))
    assert not is_oblique(np.diag([1.0, -2, 3, 1]))


def test_world_and_index_are_inverse(tiny_volume):
    points = np.random.default_rng(0).normal(0, 5, (7, 2, 3))
    np.testing.assert_allclose(index_from_world(tiny_volume, world_from_index(tiny_volume, points)), points)
    np.testing.assert_allclose(world_from_index(tiny_volume, (1, 2, 3)), (8 - 4.5, 6 - 3, -9 + 3))


def test_same_grid(tiny_volume):
    def moved(mm):
        affine = tiny_volume.affine.copy()
        affine[0, 3] += mm
        return dataclasses.replace(tiny_volume, affine=affine)

    assert same_grid(tiny_volume, moved(0.005))
    assert not same_grid(tiny_volume, moved(0.02))
    assert same_grid(tiny_volume, moved(0.02), tol_mm=0.1)
    # A small angle moves only the far corner.
    bent = tiny_volume.affine.copy()
    bent[0, 0] += 0.01
    assert not same_grid(tiny_volume, dataclasses.replace(tiny_volume, affine=bent))


def test_align_turns_without_resampling(tiny_volume):
    turned = Volume(tiny_volume.data.transpose(2, 0, 1)[::-1], affine_of(
        np.c_[-tiny_volume.affine[:3, 2], tiny_volume.affine[:3, 0], tiny_volume.affine[:3, 1]],
        tiny_volume.affine[:3, 3] + 11 * tiny_volume.affine[:3, 2],
    ))  # fmt: skip
    back = align_to(turned, tiny_volume)
    np.testing.assert_array_equal(back.data, tiny_volume.data)
    assert same_grid(back, tiny_volume, tol_mm=0)


def test_align_extends_label_maps_only(tiny_volume):
    labels = (Label(1, "organ", (1, 2, 3)),)
    whole = tiny_volume.like((tiny_volume.data > 100).astype(np.uint8), labels)
    affine = tiny_volume.affine.copy()
    affine[:3, 3] = world_from_index(tiny_volume, (2, -1, 3))
    part = dataclasses.replace(whole, data=np.full((3, 5, 4), 1, np.uint8), affine=affine)
    placed = align_to(part, tiny_volume)
    expected = np.zeros(tiny_volume.shape)
    expected[2:5, :4, 3:7] = 1  # what lies before the first row is cut off
    np.testing.assert_array_equal(placed.data, expected)
    with pytest.raises(GeometryError, match="only label maps can be extended"):
        align_to(dataclasses.replace(part, labels=()), tiny_volume)


@pytest.mark.parametrize("shift", [(0.4, 0, 0), (0, 0, 0.5)])
def test_align_refuses_voxels_between_voxels(tiny_volume, shift):
    affine = tiny_volume.affine.copy()
    affine[:3, 3] = world_from_index(tiny_volume, shift)
    with pytest.raises(GeometryError, match=r"the grids differ: .* 3 x 1.5 x 1.5 mm"):
        align_to(dataclasses.replace(tiny_volume, affine=affine), tiny_volume)


def test_display_places_volumes_of_one_direction(tiny_volume):
    """Two grids with the same directions differ on screen by their true distance along the axes."""
    affine = tiny_volume.affine.copy()
    affine[:3, :3] *= 0.5
    affine[:3, 3] = world_from_index(tiny_volume, (1, 2, 3))
    fine = dataclasses.replace(tiny_volume, affine=affine)
    assert display_scale(fine) == pytest.approx((1.5, 0.75, 0.75))
    difference = np.subtract(display_translate(fine), display_translate(tiny_volume))
    np.testing.assert_allclose(difference, (3, 3, 4.5))


@pytest.mark.parametrize("bad", [np.full((4, 4), np.nan), np.zeros((4, 4)), np.eye(3)])
def test_bad_affine_is_refused(bad):
    with pytest.raises(GeometryError):
        native_grid(bad, (2, 3, 4))


def test_modality_from_intensities():
    rng = np.random.default_rng(0)
    tissue = rng.normal(40, 20, 20_000)
    air = rng.normal(-1000, 10, 2_000)
    assert guess_modality(np.r_[tissue, air].astype(np.int16)) == "CT"
    assert guess_modality(tissue.astype(np.int16)) == "auto"  # no air in view
    assert guess_modality(np.r_[tissue, air] + 1024) == "auto"  # stored without its offset
    assert guess_modality(np.abs(tissue)) == "auto"
    assert guess_modality(np.zeros((0,), np.int16)) == "auto"
