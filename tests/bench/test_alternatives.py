"""What users would pick instead, on scans where the right answer is known."""

import numpy as np
import pytest

from napari_medssl.bench.alternatives import ALTERNATIVES, prepare, segment_by, thinned
from napari_medssl.volume import Volume

LPS = np.array([[0, 0, -2.0, 0], [0, -2.0, 0, 0], [5.0, 0, 0, 0], [0, 0, 0, 1]])


@pytest.fixture
def scan():
    """A bright rod through 7 slices of a dark, slightly noisy scan."""
    truth = np.zeros((7, 24, 30), bool)
    truth[1:6, 5:15, 4:16] = True
    data = 50 + 300 * truth + np.random.default_rng(0).normal(0, 3, truth.shape)
    return Volume(data.astype(np.float32), LPS), truth


def overlap(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.mark.parametrize("name", [n for n in ALTERNATIVES if n != "copy"])
def test_an_organ_with_clear_edges_is_found(scan, name):
    volume, truth = scan
    seen = prepare(volume, thinned(name, truth.shape[1:]))
    organ = seen.turned(truth)
    found = segment_by(name, seen, {3: organ[3]})
    assert found.dtype == bool
    assert np.array_equal(found[3], organ[3])
    assert overlap(found, organ) > (0.8 if "walker" in name else 0.98)  # a walker cannot know where the rod ends


def test_the_copy_takes_the_nearest_slice(scan):
    volume, truth = scan
    seen = prepare(volume, 1)
    first, second = seen.turned(truth)[3], np.roll(seen.turned(truth)[3], 4, 1)
    found = segment_by("copy", seen, {1: first, 4: second})
    assert [np.array_equal(plane, first) for plane in found] == [True] * 3 + [False] * 4
    assert np.array_equal(found[6], second)


def test_a_forest_goes_to_another_scan_with_its_own_labels(scan):
    volume, truth = scan
    other = Volume(2.5 * np.roll(volume.data, 3, 2) - 40, LPS)
    seen, source = prepare(other, 1), prepare(volume, 1)
    found = segment_by("forest", seen, {z: source.turned(truth)[z] for z in (2, 3, 4)}, source=source)
    assert overlap(found, seen.turned(np.roll(truth, 3, 2))) > 0.9


@pytest.mark.parametrize("signs", [(1, 1), (-1, 1), (1, -1), (-1, -1)])
def test_the_order_of_the_file_does_not_matter(signs):
    """The same patient stored in another order is seen alike, also at every second pixel of an even number."""
    data = np.random.default_rng(1).normal(size=(3, 8, 10)).astype(np.float32)
    straight = Volume(data, np.diag([3.0, 2, 1, 1])[[2, 1, 0, 3]])
    affine, turned = straight.affine.copy(), data
    for axis, sign in zip((1, 2), signs, strict=True):
        if sign < 0:
            affine[:3, 3] += affine[:3, axis] * (data.shape[axis] - 1)
            affine[:3, axis] *= -1
            turned = np.flip(turned, axis)
    seen, expected = prepare(Volume(np.ascontiguousarray(turned), affine), 2), prepare(straight, 2)
    np.testing.assert_array_equal(seen.image, expected.image)
    np.testing.assert_array_equal(seen.turned(turned), data[:, ::2, ::2])
    assert seen.spacing_mm == (3.0, 4.0, 2.0)
    assert (seen.image.min(), seen.image.max()) == (0, 1)


def test_only_fine_slices_are_thinned():
    assert thinned("random-walker", (160, 200)) == 2
    assert thinned("random-walker", (159, 500)) == 1
    assert thinned("random-walker-full", (512, 512)) == 1


def test_labels_without_an_answer(scan):
    volume, truth = scan
    seen = prepare(volume, 1)
    nothing, all_of_it = np.zeros(truth.shape[1:], bool), np.ones(truth.shape[1:], bool)
    assert segment_by("forest", seen, {3: nothing}) is None
    assert segment_by("forest", seen, {3: all_of_it}).all()
    assert segment_by("random-walker", seen, {3: all_of_it})[3].all()
    flat = prepare(Volume(np.full(truth.shape, 7.0, np.float32), LPS), 1)
    assert segment_by("random-walker", flat, {3: truth[3]}).sum() == truth[3].sum()
