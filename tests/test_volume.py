"""Volumes: where voxels lie, what they measure, and the way back to the file's grid."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest

from napari_medssl.errors import GeometryError
from napari_medssl.labels import default_label
from napari_medssl.volume import NativeGrid, Volume

ORIENTATIONS = [
    (axes, flips) for axes in itertools.permutations((0, 1, 2)) for flips in itertools.product((False, True), repeat=3)
]
SHEARED = np.array(
    [
        [0.9, 0.2, -0.1, 12.0],
        [-0.3, 1.4, 0.5, -7.0],
        [0.1, -0.4, 2.5, 30.0],
        [0.0, 0.0, 0.0, 1.0],
    ]
)


def native(axes: tuple[int, ...], flips: tuple[bool, ...]) -> NativeGrid:
    return NativeGrid(SHEARED, (3, 4, 5), (axes[0], axes[1], axes[2]), (flips[0], flips[1], flips[2]))


@pytest.mark.parametrize(("axes", "flips"), ORIENTATIONS)
def test_to_native_undoes_to_zyx(axes: tuple[int, ...], flips: tuple[bool, ...]) -> None:
    grid, stored = native(axes, flips), np.arange(60).reshape(3, 4, 5)
    turned = grid.to_zyx(stored)
    assert turned.shape == tuple((3, 4, 5)[a] for a in axes)
    np.testing.assert_array_equal(grid.to_native(turned), stored)
    assert np.shares_memory(turned, stored)  # a view: reading copies nothing


@pytest.mark.parametrize(("axes", "flips"), ORIENTATIONS)
def test_every_voxel_stays_at_its_physical_point(axes: tuple[int, ...], flips: tuple[bool, ...]) -> None:
    grid = native(axes, flips)
    stored = np.arange(60).reshape(3, 4, 5)
    turned, affine = grid.to_zyx(stored), grid.zyx_affine()
    for index in itertools.product(*(range(n) for n in stored.shape)):
        (place,) = np.argwhere(turned == stored[index])
        np.testing.assert_allclose(affine @ [*place, 1], SHEARED @ [*index, 1], atol=1e-12)


def test_the_48_orientations_are_48_different_affines() -> None:
    affines = {tuple(np.round(native(a, f).zyx_affine(), 9).ravel()) for a, f in ORIENTATIONS}
    assert len(affines) == 48


def test_spacing_is_the_length_of_the_axes() -> None:
    affine = np.eye(4)
    # Z runs along A by 4 mm, Y along S by 2 mm, X obliquely by (0.6, 0.8, 0).
    affine[:3, :3] = [[0, 0, 0.6], [4, 0, 0.8], [0, 2, 0]]
    assert Volume(np.zeros((2, 3, 4)), affine).spacing_mm == pytest.approx((4, 2, 1))


def test_voxel_volume_of_a_sheared_grid_is_not_the_product_of_spacings() -> None:
    affine = np.diag([5.0, 2.0, 1.0, 1.0])
    affine[1, 0] = 5.0  # slices shifted by one slice distance each: base times height stays
    volume = Volume(np.zeros((2, 2, 2)), affine)
    assert volume.voxel_ml == pytest.approx(0.010)
    assert volume.spacing_mm[0] == pytest.approx(np.sqrt(50))
    mirrored = Volume(np.zeros((2, 2, 2)), affine @ np.diag([-1, 1, 1, 1]))
    assert mirrored.voxel_ml == pytest.approx(0.010)


@pytest.mark.parametrize(
    ("shape", "affine", "message"),
    [
        ((4, 5), np.eye(4), r"needs 3 axes \(Z, Y, X\); got an array of shape \(4, 5\)"),
        ((2, 3, 4, 5), np.eye(4), "needs 3 axes"),
        ((2, 3, 4), np.eye(3), r"finite \(4, 4\) matrix"),
        ((2, 3, 4), np.diag([1, 1, np.nan, 1]), r"finite \(4, 4\) matrix"),
        ((2, 3, 4), np.diag([1, 1, 0, 1]), "singular"),
    ],
)
def test_an_impossible_grid_is_refused(shape: tuple[int, ...], affine: np.ndarray, message: str) -> None:
    with pytest.raises(GeometryError, match=message):
        Volume(np.zeros(shape), affine)


def test_a_list_does_for_an_affine_and_becomes_double() -> None:
    volume = Volume(np.zeros((2, 3, 4)), np.eye(4, dtype=np.float32).tolist())
    assert volume.affine.dtype == np.float64
    assert volume.shape == (2, 3, 4)


def test_the_content_hash_knows_voxels_type_shape_and_place() -> None:
    data = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    moved = np.eye(4)
    moved[0, 3] = 1e-6
    changed = data.copy()
    changed[1, 2, 3] += 1
    others = [
        Volume(changed, np.eye(4)),
        Volume(data, moved),
        Volume(data.astype(np.uint16), np.eye(4)),
        Volume(data.reshape(2, 4, 3), np.eye(4)),
    ]
    same = Volume(data.copy(), np.eye(4), modality="MR", source=Path("elsewhere.nii"), notes=("read again",))
    assert same.content_hash == Volume(data, np.eye(4)).content_hash
    assert len({v.content_hash for v in [same, *others]}) == 5


def test_the_content_hash_does_not_depend_on_memory_order() -> None:
    data = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    views = [data, np.asfortranarray(data), np.ascontiguousarray(data[::-1])[::-1]]
    assert len({Volume(v, np.asfortranarray(np.diag([1.0, 2, 3, 1]))).content_hash for v in views}) == 1


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.float16, ">i2", np.float64])
def test_the_content_hash_takes_every_type_and_no_voxels(dtype: object) -> None:
    assert len(Volume(np.zeros((2, 3, 4), dtype), np.eye(4)).content_hash) == 64  # type: ignore[call-overload]
    assert len(Volume(np.zeros((0, 3, 4), dtype), np.eye(4)).content_hash) == 64  # type: ignore[call-overload]


def test_like_keeps_the_place_and_drops_what_was_said_of_the_scan() -> None:
    grid = NativeGrid(np.eye(4), (4, 3, 2), (2, 1, 0), (False, False, False))
    scan = Volume(
        np.zeros((2, 3, 4)), SHEARED, "CT", native=grid, source=Path("scan.nii"), notes=("two slices were missing",)
    )
    mask = np.ones((2, 3, 4), np.uint8)
    made = scan.like(mask, (default_label(1),))
    assert made.data is mask
    assert (made.native, made.source, made.labels, made.notes) == (grid, scan.source, (default_label(1),), ())
    np.testing.assert_array_equal(made.affine, SHEARED)
    assert made.content_hash != scan.content_hash


def test_like_refuses_another_shape() -> None:
    with pytest.raises(GeometryError, match=r"\(2, 3, 5\) does not fit the scan's grid \(2, 3, 4\)"):
        Volume(np.zeros((2, 3, 4)), np.eye(4)).like(np.zeros((2, 3, 5)))


def test_a_replaced_array_is_hashed_anew(tiny_volume: Volume) -> None:
    before = tiny_volume.content_hash
    assert dataclasses.replace(tiny_volume, data=tiny_volume.data + 1).content_hash != before
