"""Taking a neighbour out of a segmentation."""

from __future__ import annotations

import numpy as np
import pytest

from napari_medssl.oneshot.blob_features import FEATURES
from napari_medssl.oneshot.blobs import BlobSlice
from napari_medssl.oneshot.verification import judge_blobs, verify_steps
from napari_medssl.progress import finish
from napari_medssl.volume import Volume
from tests.oneshot.test_blobs import disc

SHAPE = (20, 60, 80)
LABELLED = 8


class Distrusts:
    """Doubts whatever lies beside what was kept before."""

    def __init__(self) -> None:
        self.asked = 0

    def judge(self, numbers: np.ndarray) -> np.ndarray:
        self.asked += 1
        return np.where(numbers[:, FEATURES.index("overlap")] > 0.5, 0.9, 0.1)


class Trusts(Distrusts):
    """Doubts nothing."""

    def judge(self, numbers: np.ndarray) -> np.ndarray:
        return np.ones(len(numbers))


def scan(z_mm: float = 2.0, pixel_mm: float = 1.2) -> Volume:
    return Volume(np.full(SHAPE, 100, np.int16), np.diag([z_mm, pixel_mm, pixel_mm, 1.0]))


def slid() -> np.ndarray:
    """The organ on slices 4 to 12; from 11 on a neighbour, which goes on to 16."""
    found = np.zeros(SHAPE, np.float16)
    found[4:13, disc((30, 20), 11)] = 0.8
    found[11:17, disc((30, 42), 12)] = 0.7
    return found


def label(z: int = LABELLED) -> dict[int, np.ndarray]:
    return {z: disc((30, 20), 11)}


def test_a_neighbour_goes_with_all_its_slices_and_the_organ_stays() -> None:
    found = slid()
    finish(verify_steps(scan(), {1: found}, {1: label()}, Distrusts(), limits=(0, 200), doubt=0.3))
    expected = slid() > 0.5
    expected[11:17, disc((30, 42), 12)] = False
    wrong = ((found > 0.5) != expected).sum()
    assert wrong < 30  # the cut between two touching discs is a few pixels off
    assert 0 < found[15].max() < 0.3  # doubted, not forgotten


@pytest.mark.parametrize(("network", "doubt"), [(Trusts(), 0.3), (Distrusts(), 0.05)])
def test_without_doubt_nothing_changes(network: Distrusts, doubt: float) -> None:
    found = slid()
    finish(verify_steps(scan(), {1: found}, {1: label()}, network, limits=(0, 200), doubt=doubt))
    np.testing.assert_array_equal(found, slid())


@pytest.mark.parametrize(("doubt", "threshold"), [(0.95, 0.5), (0.3, 0.05)])
def test_what_is_doubted_is_out_whatever_the_threshold(doubt: float, threshold: float) -> None:
    found = slid()
    finish(
        verify_steps(scan(), {1: found}, {1: label()}, Distrusts(), limits=(0, 200), doubt=doubt, threshold=threshold)
    )
    assert found[15].max() < threshold


@pytest.mark.parametrize(("z_mm", "pixel_mm"), [(5.0, 1.2), (1.0, 0.8)])
def test_organs_that_are_thin_against_the_slices_or_small_are_not_judged(z_mm: float, pixel_mm: float) -> None:
    found, network = slid(), Distrusts()
    finish(verify_steps(scan(z_mm, pixel_mm), {1: found}, {1: label()}, network, limits=(0, 200), doubt=0.3))
    np.testing.assert_array_equal(found, slid())
    assert not network.asked


def test_a_slice_is_judged_from_the_nearest_label() -> None:
    masks = {**label(4), 12: disc((30, 42), 12)}
    seen: dict[int, int] = {}

    def judge(blobs: BlobSlice, numbers: np.ndarray) -> np.ndarray:
        seen[blobs.z] = seen.get(blobs.z, 0) + 1
        nearest = min(abs(blobs.z - 4), abs(blobs.z - 12))
        assert numbers[0, FEATURES.index("distance")] == pytest.approx(nearest * 2 / 50)
        return np.asarray(numbers[:, FEATURES.index("distance")] > 0)

    judge_blobs(lambda z: np.full(SHAPE[1:], 0.5), slid(), masks, (2.0, 1.0, 1.0), judge)
    assert sorted(seen) == [5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 16]
    assert set(seen.values()) == {1}


def test_organs_found_nowhere_or_labelled_empty_are_left_alone() -> None:
    nothing, network = np.zeros(SHAPE, np.float16), Distrusts()
    empty = {LABELLED: np.zeros(SHAPE[1:], bool)}
    finish(verify_steps(scan(), {1: nothing, 2: slid()}, {1: label(), 2: empty}, network, limits=(0, 200), doubt=0.3))
    assert not nothing.any()
    assert not network.asked
