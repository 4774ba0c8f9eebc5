"""The distortions of Models Genesis: each against what defines it."""

from __future__ import annotations

import numpy as np
import pytest

from napari_medssl.transforms.genesis import (
    UNDISTORTED,
    GenesisRates,
    distort,
    draw_curve,
    draw_inpainting,
    draw_noise,
    draw_outpainting,
    draw_shuffle,
    flip_randomly,
)

SIZE = (16, 20, 24)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_curves_are_monotone_from_end_to_end_and_half_of_them_fall() -> None:
    curves = np.stack([draw_curve(rng(n)) for n in range(200)]).astype(int)
    steps = np.diff(curves, axis=1)
    falling = curves[:, 0] == 255
    assert (steps[falling] <= 0).all()
    assert (steps[~falling] >= 0).all()
    assert set(map(tuple, curves[:, [0, -1]])) == {(0, 255), (255, 0)}
    assert falling.mean() == pytest.approx(0.5, abs=0.12)
    assert np.unique(curves, axis=0).shape[0] == 200


def test_a_curve_is_the_bezier_of_its_control_points() -> None:
    (x1, y1), (x2, y2) = rng(5).random((2, 2))
    curve, falls = draw_curve(rng(5)).astype(float), draw_curve(rng(5))[0] == 255
    for level in (40, 128, 200):  # solve the x of the cubic for its parameter, by roots instead of a table
        roots = np.roots([1 + 3 * x1 - 3 * x2, 3 * x2 - 6 * x1, 3 * x1, -level / 255])
        t = next(r.real for r in roots if abs(r.imag) < 1e-9 and 0 <= r.real <= 1)
        y = 3 * (1 - t) ** 2 * t * y1 + 3 * (1 - t) * t**2 * y2 + t**3
        assert curve[level] == pytest.approx(255 * (1 - y if falls else y), abs=1.0)


def test_a_shuffle_moves_voxels_only_inside_boxes_of_a_tenth() -> None:
    size = (20, 30, 40)
    source = draw_shuffle(rng(), size)
    was, now = np.array(np.unravel_index(source, size)), np.array(np.unravel_index(np.arange(source.size), size))
    distance = np.abs(was - now).max(1)
    assert (distance <= [1, 2, 3]).all()  # in boxes of at most 2, 3 and 4 voxels
    assert (distance == [1, 2, 3]).all()
    assert 0.3 < (source != np.arange(source.size)).mean() < 0.9


def test_the_number_of_shuffled_blocks_follows_the_volume() -> None:
    shares = [(draw_shuffle(rng(1), s) != np.arange(np.prod(s))).mean() for s in ((32, 64, 64), (64, 64, 64))]
    assert shares[1] > shares[0]  # boxes are deeper there, and there are as many per voxel
    tiny = draw_shuffle(rng(), (8, 8, 8))
    np.testing.assert_array_equal(tiny, np.arange(512))  # a tenth of 8 is no box


def test_painting_marks_boxes_of_the_stated_sizes() -> None:
    for n in range(30):
        inside, kept = draw_inpainting(rng(n), SIZE), ~draw_outpainting(rng(n), SIZE)
        # Between one smallest and five largest boxes.
        assert 2 * 3 * 4 <= inside.sum() <= 5 * 5 * 6 * 8
        assert 6 * 8 * 10 <= kept.sum() <= 5 * 9 * 11 * 13


def test_noise_is_uniform() -> None:
    noise = draw_noise(rng(), (32, 32, 32))
    assert noise.dtype == np.uint8
    assert noise.mean() == pytest.approx(127.5, abs=1.5)
    assert noise.std() == pytest.approx(255 / 12**0.5, rel=0.02)


def test_painted_voxels_alone_differ_without_the_other_distortions() -> None:
    crop = np.full(SIZE, 7, np.uint8)
    for outside, low, high in ((0.0, 0.0, 0.3), (1.0, 0.4, 0.99)):
        out = distort(crop, rng(), GenesisRates(curve=0, shuffling=0, painting=1, outpainting=outside))
        assert low < (out != crop).mean() < high


def test_shuffling_alone_keeps_the_place_of_large_things() -> None:
    crop = np.zeros((32, 40, 40), np.uint8)
    crop[8:24, 10:30, 10:30] = 200
    out = distort(crop, rng(), GenesisRates(curve=0, shuffling=1, painting=0))
    assert set(np.unique(out)) == {0, 200}
    assert (out[12:20, 14:26, 14:26] == 200).all()
    assert (out != crop).any()


def test_nothing_happens_at_rate_zero_and_the_crop_is_never_written_to() -> None:
    crop = draw_noise(rng(), SIZE)
    kept = crop.copy()
    np.testing.assert_array_equal(distort(crop, rng(), UNDISTORTED), kept)
    for n in range(10):
        distort(crop, rng(n), GenesisRates())
        flip_randomly(crop, rng(n), 0.4)
    np.testing.assert_array_equal(crop, kept)


def test_each_axis_is_flipped_at_its_rate() -> None:
    crop = draw_noise(rng(), (4, 4, 4))
    flipped = np.stack([flip_randomly(crop, rng(n), 0.4) for n in range(300)])
    kept = np.mean([(f == crop).all() for f in flipped])
    assert kept == pytest.approx(0.6**3, abs=0.07)
    assert len(np.unique(flipped, axis=0)) == 8
