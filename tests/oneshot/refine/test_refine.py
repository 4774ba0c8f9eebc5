"""Refinement steps: the contract of all, and what each does."""

from __future__ import annotations

import numpy as np
import pytest

from napari_medssl.errors import SettingsError
from napari_medssl.oneshot.refine import RefineContext, refiners
from napari_medssl.volume import Volume


def context(
    shape: tuple[int, ...],
    *,
    image: np.ndarray | None = None,
    spacing: tuple[float, float, float] = (5.0, 1.0, 1.0),
    anchors: dict[int, np.ndarray] | None = None,
) -> RefineContext:
    data = np.zeros(shape, np.float32) if image is None else image.astype(np.float32)
    affine = np.eye(4)
    affine[:3, :3] = np.diag(spacing)[::-1]  # Z along S, X along R
    return RefineContext(Volume(data, affine), (0.0, 1.0), anchors or {})


def ball(shape: tuple[int, int, int] = (8, 40, 44), radius: float = 11) -> np.ndarray:
    zs, ys, xs = np.ogrid[: shape[0], : shape[1], : shape[2]]
    distance = np.sqrt((2.5 * (zs - 4)) ** 2 + (ys - 19) ** 2 + (xs - 22) ** 2)
    return (1 / (1 + np.exp((distance - radius) / 1.5))).astype(np.float32)


@pytest.fixture(params=list(refiners))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("labelled", [False, True])
def test_every_step_keeps_shape_type_and_range(name: str, labelled: bool) -> None:
    rng = np.random.default_rng(0)
    noisy = np.clip(ball() + rng.normal(0, 0.2, ball().shape), 0, 1).astype(np.float32)
    anchors = {4: ball()[4] > 0.5} if labelled else {}
    found = refiners[name](noisy, context(noisy.shape, image=ball(), anchors=anchors))
    assert found.shape == noisy.shape
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert found.min() >= -1e-6
    assert found.max() <= 1 + 1e-6


def test_every_step_improves_or_keeps_a_good_map(name: str) -> None:
    truth = ball() > 0.5
    found = refiners[name](ball(), context(truth.shape, image=truth)) >= 0.5
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.97


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_every_step_survives_nothing_and_everything(name: str, value: float) -> None:
    flat = np.full((4, 20, 22), value, np.float32)
    np.testing.assert_allclose(refiners[name](flat.copy(), context(flat.shape)), flat, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 30, 30), (3, 1, 30)])
def test_every_step_takes_flat_volumes(name: str, shape: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(0)
    found = refiners[name](rng.random(shape).astype(np.float32), context(shape))
    assert found.shape == shape
    assert np.isfinite(found).all()


def test_an_unknown_step_lists_the_known_ones() -> None:
    with pytest.raises(SettingsError, match=r"no refinement step is called 'sharpen'; choose one of: connected, holes"):
        refiners["sharpen"]


def pieces() -> np.ndarray:
    """A large piece, one of a quarter of its size, and a speck."""
    out = np.zeros((6, 30, 40), np.float32)
    out[1:5, 5:15, 5:15] = 0.9  # 400
    out[1:5, 20:25, 5:10] = 0.9  # 100
    out[2, 20:22, 30:32] = 0.9  # 4
    out[0, 0, 0] = 0.4  # below one half: no piece of its own
    return out


def test_connected_drops_specks_and_keeps_large_pieces() -> None:
    found = refiners["connected"](pieces(), context((6, 30, 40)))
    assert not found[2, 20:22, 30:32].any()
    assert found[1:5, 5:15, 5:15].min() == np.float32(0.9)
    assert found[1:5, 20:25, 5:10].min() == np.float32(0.9)
    assert found[0, 0, 0] == np.float32(0.4)


def test_connected_keeps_a_speck_that_was_labelled() -> None:
    painted = np.zeros((30, 40), bool)
    painted[21, 31] = True
    found = refiners["connected"](pieces(), context((6, 30, 40), anchors={2: painted}))
    assert (found[2, 20:22, 30:32] == np.float32(0.9)).all()
    elsewhere = refiners["connected"](pieces(), context((6, 30, 40), anchors={3: painted}))
    assert not elsewhere[2, 20:22, 30:32].any()


def test_connected_joins_over_corners_and_slices() -> None:
    out = np.zeros((4, 20, 20), np.float32)
    out[1, 2:12, 2:12] = 1
    out[2, 12, 12] = 1  # touches by a corner of the slice below
    np.testing.assert_array_equal(refiners["connected"](out, context(out.shape)), out)


def test_connected_leaves_a_map_without_a_piece() -> None:
    faint = ball() * 0.4
    np.testing.assert_array_equal(refiners["connected"](faint.copy(), context(faint.shape)), faint)


def test_holes_fills_small_ones_and_leaves_large_and_open_ones() -> None:
    out = np.zeros((3, 40, 40), np.float32)
    out[1, 5:35, 5:35] = 0.8  # 900 pixels less what follows
    out[1, 10:13, 10:13] = 0.1  # 9 enclosed pixels: noise
    out[1, 18:28, 18:28] = 0.1  # 100 enclosed: more than 5 %
    out[1, 30:35, 15] = 0.1  # open to the outside
    found = refiners["holes"](out.copy(), context(out.shape))
    assert (found[1, 10:13, 10:13] == 1).all()
    assert (found[1, 18:28, 18:28] == np.float32(0.1)).all()
    assert (found[1, 30:35, 15] == np.float32(0.1)).all()
    changed = found != out
    assert changed.sum() == 9


def test_holes_looks_at_each_slice_alone() -> None:
    tube = np.zeros((3, 20, 20), np.float32)
    tube[:, 2:18, 2:18] = 1
    tube[:, 9:11, 9:11] = 0  # open at both ends in 3D, enclosed on each slice
    assert refiners["holes"](tube.copy(), context(tube.shape))[:, 9:11, 9:11].all()


def deviation(image: np.ndarray) -> float:
    """Standard deviation in voxels of a 1D profile."""
    at = np.arange(image.size)
    total = image.sum()
    mean = (image * at).sum() / total
    return float(np.sqrt((image * (at - mean) ** 2).sum() / total))


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 0.5, 1.0), (1.0, 1.0, 0.8)])
def test_smooth_acts_over_a_millimetre_whatever_the_voxels(spacing: tuple[float, float, float]) -> None:
    point = np.zeros((31, 41, 41), np.float32)
    point[15, 20, 20] = 1
    found = refiners["smooth"](point, context(point.shape, spacing=spacing))
    for axis in range(3):
        profile = found.sum(tuple(a for a in range(3) if a != axis))
        if spacing[axis] <= 1:  # narrower Gaussians are too coarsely sampled to measure
            assert deviation(profile) * spacing[axis] == pytest.approx(1.0, rel=0.05)
    assert found.sum() == pytest.approx(1, abs=1e-3)


def test_smooth_leaves_thick_slices_alone() -> None:
    slab = np.zeros((5, 20, 20), np.float32)
    slab[2] = 1
    np.testing.assert_allclose(
        refiners["smooth"](slab.copy(), context(slab.shape, spacing=(7.0, 1, 1))), slab, atol=1e-6
    )


def off_by(pixels: int) -> tuple[np.ndarray, np.ndarray]:
    """(true square on a slice, a map of it grown by some pixels)."""
    truth = np.zeros((3, 60, 60), bool)
    truth[1, 15:45, 15:45] = True
    grown = np.zeros((3, 60, 60), np.float32)
    grown[1, 15 - pixels : 45 + pixels, 15 - pixels : 45 + pixels] = 0.8
    return truth, grown


def test_random_walk_moves_the_edge_to_that_of_the_image() -> None:
    truth, grown = off_by(2)
    found = refiners["random-walk"](grown.copy(), context(truth.shape, image=truth)) >= 0.5
    assert (found ^ truth).sum() < 0.25 * ((grown > 0.5) ^ truth).sum()


def test_random_walk_does_not_move_farther_than_its_band() -> None:
    truth, grown = off_by(8)
    found = refiners["random-walk"](grown.copy(), context(truth.shape, image=truth))
    outer = np.zeros_like(truth)
    outer[1, 7 + 5 : 53 - 5, 7 + 5 : 53 - 5] = True  # more than 4 mm inside the given edge
    assert (found[outer] >= 0.5).all()


def test_random_walk_measures_its_band_in_millimetres() -> None:
    truth, grown = off_by(8)
    # With pixels of 3 mm the same 8 pixels are 24 mm, and the band is about one pixel wide.
    found = refiners["random-walk"](grown.copy(), context(truth.shape, image=truth, spacing=(5.0, 3.0, 3.0)))
    lowered = (found < grown - 0.01)[1]
    ys, xs = np.nonzero(lowered)
    inside = np.minimum(np.minimum(ys - 7, 52 - ys), np.minimum(xs - 7, 52 - xs))
    assert inside.max() <= 1


def test_random_walk_leaves_what_is_thinner_than_its_band() -> None:
    thin = np.zeros((3, 40, 40), np.float32)
    thin[1, 10:30, 18:22] = 0.8
    np.testing.assert_array_equal(refiners["random-walk"](thin.copy(), context(thin.shape, image=thin)), thin)


def test_random_walk_leaves_what_has_no_contrast() -> None:
    probability = np.zeros((3, 60, 60), np.float32)
    probability[1, 15:45, 15:45] = 0.8
    flat = Volume(np.zeros(probability.shape, np.float32), np.eye(4))
    found = refiners["random-walk"](probability.copy(), RefineContext(flat, (0, 1), {}))
    np.testing.assert_array_equal(found, probability)
