"""The random walker through the volume."""

from __future__ import annotations

import numpy as np
import pytest

from napari_medssl.oneshot import diffusion
from napari_medssl.oneshot.diffusion import _WALK_VOXELS, _block_means, _shrink, diffuse_near, diffuse_steps
from napari_medssl.progress import finish
from napari_medssl.volume import Volume


def cylinder(side: int = 48, depth: int = 11) -> np.ndarray:
    """A cylinder along Z, on every slice."""
    ys, xs = np.ogrid[:side, :side]
    disc = (ys - side * 0.45) ** 2 + (xs - side * 0.55) ** 2 < (side / 5) ** 2
    return np.repeat(disc[None], depth, 0)


def scan(mask: np.ndarray, noise: float = 0.03) -> Volume:
    rng = np.random.default_rng(0)
    image = 0.3 + 0.35 * mask + rng.normal(0, noise, mask.shape)
    return Volume(image.astype(np.float32), np.eye(4))


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def diffuse(mask: np.ndarray, zs: list[int], slice_range: tuple[int, int] | None = None) -> np.ndarray:
    anchors = {1: {z: mask[z] for z in zs}}
    return finish(diffuse_steps(scan(mask), anchors, limits=(0, 1), slice_range=slice_range))[1]


@pytest.mark.parametrize("side", [48, 162])  # the larger is solved at half resolution in plane
def test_a_cylinder_is_found_from_one_slice(side: int) -> None:
    mask = cylinder(side, 7)
    found = diffuse(mask, [3])
    assert found.shape == mask.shape
    assert found.dtype == np.float16
    assert dice(found > 0.5, mask) > 0.9
    np.testing.assert_array_equal(found[3], mask[3])  # what was labelled stays


def test_nothing_is_found_outside_the_range() -> None:
    mask = cylinder()
    found = diffuse(mask, [5], (3, 8))
    assert not found[:3].any()
    assert not found[8:].any()
    assert dice(found[3:8] > 0.5, mask[3:8]) > 0.9


@pytest.mark.parametrize("zs", [[1], [9], [1, 9], [0, 1, 9, 10]])
def test_labelled_slices_outside_the_range_are_seeds(zs: list[int]) -> None:
    mask = cylinder()
    found = diffuse(mask, zs, (3, 8))
    assert np.flatnonzero(found.any((1, 2))).tolist() == [3, 4, 5, 6, 7]
    assert dice(found[3:8] > 0.5, mask[3:8]) > 0.8


def test_background_on_a_labelled_slice_stops_the_walker() -> None:
    # Two equal cylinders that touch nowhere; only one is labelled. The other is background on that slice.
    mask = cylinder() & (np.arange(48) < 40)
    other = np.roll(mask, -25, 2) & ~mask
    image = scan(mask | other)
    found = finish(diffuse_steps(image, {1: {5: mask[5]}}, limits=(0, 1)))[1]
    assert (found[other] > 0.5).mean() < 0.05
    assert dice(found > 0.5, mask) > 0.85


def test_a_second_labelled_slice_helps() -> None:
    mask = cylinder()
    mask[8:] = False  # the organ ends, but the picture goes on looking like it
    picture = scan(cylinder())
    one = finish(diffuse_steps(picture, {1: {2: mask[2]}}, limits=(0, 1)))[1]
    ended = {2: mask[2], 10: np.zeros_like(mask[0])}
    two = finish(diffuse_steps(picture, {1: ended}, limits=(0, 1)))[1]
    assert dice(two > 0.5, mask) > dice(one > 0.5, mask)


def test_organs_are_solved_one_by_one_with_progress() -> None:
    mask = cylinder(32, 5)
    other = np.roll(mask, -12, 2)
    labels = []
    steps = diffuse_steps(scan(mask | other), {4: {2: mask[2]}, 2: {2: other[2]}}, limits=(0, 1))
    found = finish(steps, lambda p: labels.append((p.done, p.total)))
    assert list(found) == [4, 2]
    assert labels == [(0, 2), (1, 2)]


def test_one_slice_is_given_back_as_it_was_labelled() -> None:
    mask = cylinder(20, 1)
    np.testing.assert_array_equal(diffuse(mask, [0])[0], mask[0])


def near(mask: np.ndarray, carried: np.ndarray, z: int, spacing_z_mm: float = 3.0) -> np.ndarray:
    query = Volume(scan(mask).data, np.diag([1.0, 1.0, spacing_z_mm, 1.0])[:, [2, 1, 0, 3]])
    return diffuse_near(query, {z: mask[z]}, carried, limits=(0, 1))


@pytest.mark.parametrize("side", [48, 300])  # the larger region is solved more coarsely
def test_near_the_carried_map_the_organ_is_found(side: int) -> None:
    mask = cylinder(side, 9)
    found = near(mask, np.where(mask, 0.9, 0.0).astype(np.float16), 4)
    assert found.shape == mask.shape
    assert found.dtype == np.float16
    assert dice(found > 0.5, mask) > 0.9


def test_a_carried_map_that_has_run_past_the_end_is_not_followed() -> None:
    mask = cylinder(48, 13)
    carried = np.where(mask, 0.9, 0.0).astype(np.float16)
    mask[9:] = False  # here the organ has ended, the carried map has not
    found = near(mask, carried, 4)
    assert dice(found > 0.5, mask) > 0.9
    assert (found[10:] > 0.5).mean() < 0.01


def test_far_from_the_carried_map_nothing_is_found() -> None:
    mask = cylinder(80, 7)
    twin = np.roll(mask, -40, 2)  # looks alike, and is not suspected
    query = Volume(scan(mask | twin).data, np.diag([1.0, 1.0, 3.0, 1.0])[:, [2, 1, 0, 3]])
    found = diffuse_near(query, {3: mask[3]}, np.where(mask, 0.9, 0.0).astype(np.float16), limits=(0, 1))
    assert (found[twin & ~mask] > 0.5).mean() < 0.02


def test_without_a_carried_map_the_labelled_slice_says_where_to_look() -> None:
    mask = cylinder(48, 7)
    found = near(mask, np.zeros(mask.shape, np.float16), 3)
    assert dice(found[2:5] > 0.5, mask[2:5]) > 0.85


def test_where_the_image_has_no_contrast_the_carried_map_comes_back() -> None:
    image = np.ones((5, 80, 80), np.float32)
    image[:, :5] = 0  # outside the region the walker looks at
    mask = np.zeros((80, 80), bool)
    mask[35:60, 35:60] = True
    carried = np.zeros(image.shape, np.float16)
    carried[:, mask] = 0.9
    found = diffuse_near(Volume(image, np.diag([5.0, 1, 1, 1])), {2: mask}, carried, limits=(0, 1))
    np.testing.assert_array_equal(found, carried)


def test_in_a_constant_image_only_labelled_slices_have_a_probability() -> None:
    mask = cylinder(48, 5)
    flat = Volume(np.full(mask.shape, 0.3, np.float32), np.eye(4))
    found = finish(diffuse_steps(flat, {1: {2: mask[2]}}, limits=(0, 1)))[1]
    np.testing.assert_array_equal(found[2], mask[2])
    assert not found[[0, 1, 3, 4]].any()


def test_probabilities_stay_in_their_limits() -> None:
    ys, xs = np.ogrid[:48, :48]
    mask = np.repeat(((ys - 22) ** 2 + (xs - 26) ** 2 < 90)[None], 11, 0)
    found = finish(diffuse_steps(scan(mask), {1: {5: mask[5]}}, limits=(0, 1)))[1]
    assert 0 <= found.min() <= found.max() <= 1


def test_a_row_thinner_than_the_coarse_pixels_is_found() -> None:
    image = np.zeros((6, 200, 200), np.float32)
    image[:, 101, 50:150] = 100
    mask = np.zeros((200, 200), bool)
    mask[101, 51:150] = True
    found = finish(diffuse_steps(Volume(image, np.eye(4)), {1: {3: mask}}, limits=(0, 120)))[1]
    assert found[2].max() > 0.5


def test_a_thin_organ_in_a_large_box_is_not_voted_away() -> None:
    image = np.random.default_rng(0).random((80, 200, 200)).astype(np.float32)
    mask = np.zeros((200, 200), bool)
    mask[37, 20:180] = True
    carried = np.zeros(image.shape, np.float16)
    carried[:, 37, 20:180] = 0.9
    carried[:, 150:152, 20:180] = 0.2
    assert diffuse_near(Volume(image, np.eye(4)), {40: mask}, carried, limits=(0, 1)).max() > 0.5


def test_without_background_to_start_from_the_carried_map_comes_back() -> None:
    mask = np.ones((3, 8, 8), bool)
    carried = np.full(mask.shape, 0.9, np.float16)
    np.testing.assert_array_equal(near(mask, carried, 1), carried)


def test_a_large_volume_is_walked_in_few_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    ys, xs = np.ogrid[:300, :320]
    disc = (ys - 140) ** 2 + (xs - 160) ** 2 < 60**2
    mask = np.repeat(disc[None], 60, 0)
    mask[45:] = False
    solved: list[tuple[int, ...]] = []

    def spied(image: np.ndarray, seeds: np.ndarray) -> np.ndarray | None:
        solved.append(image.shape)
        return solve(image, seeds)

    solve = diffusion._solve
    monkeypatch.setattr(diffusion, "_solve", spied)
    monkeypatch.setattr(diffusion, "_WALK_VOXELS", 30_000)
    found = finish(diffuse_steps(scan(mask), {1: {20: mask[20]}}, limits=(0, 1)))[1]
    (shape,) = solved
    assert np.prod(shape) <= 30_000
    assert shape[0] < 20  # isotropic voxels are joined across slices as well as within them
    assert dice(found > 0.5, mask) > 0.9
    assert not found[47:].max() > 0.5
    assert _WALK_VOXELS <= 2_000_000  # 0.5 KiB each


def test_what_is_far_from_the_labelled_organ_is_not_looked_at() -> None:
    mask = np.zeros((5, 150, 150), bool)
    mask[:, 20:30, 20:26] = True
    found = finish(diffuse_steps(scan(mask), {1: {2: mask[2]}}, limits=(0, 1)))[1]
    assert dice(found > 0.5, mask) > 0.9
    assert not found[:, 70:].any()  # 40 mm beyond row 29
    assert not found[:, :, 66:].any()
    box = diffusion._wide_box({2: mask[2]}, (3.0, 1.0, 2.0), (0, 5))
    assert box == (slice(0, 5), slice(0, 70), slice(0, 46))


def test_blocks_at_the_edge_are_means_of_what_is_there() -> None:
    plane = np.arange(15, dtype=np.float32).reshape(3, 5)
    np.testing.assert_allclose(_block_means(plane, 2), [[3, 5, 6.5], [10.5, 12.5, 14]])


def test_coarse_masks_keep_thin_parts_and_do_not_swell_thick_ones() -> None:
    mask = np.zeros((12, 12), bool)
    mask[1:6, 1:6] = True  # of blocks of 3 x 3: 4, 6, 6 and 9 pixels
    mask[10, 2:11] = True  # 1 to 3 pixels of each block
    assert _shrink(mask, 3).astype(int).tolist() == [[0, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]]
